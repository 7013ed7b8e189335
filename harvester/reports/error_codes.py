"""Why a task is not harvested, in words: for each end and each error code what it means, and what a person can do.

The codes of the API are open-ended: those that it documents are here, any other gets UNKNOWN.
docs/howto/troubleshooting.md holds the same words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harvester.domain.tasks.task import TaskState


@dataclass(frozen=True, slots=True)
class Reason:
    """What something means, and what to do about it; sentences without a task id (`ID` stands for it)."""

    meaning: str
    remedy: str


_NOTHING = "Nothing: it is tried again by itself, after its deadline ever more rarely."
_NETWORK = "Nothing for a single one. For many: `harvester doctor`, then network, proxy and DNS of this machine."
_READ_RAW = (
    "Read it with `harvester show ID --raw`. If the API has changed its format, upgrade, then "
    "`harvester retry --from-kept ID`; if the body is wrong, `harvester retry ID` downloads it again."
)
_KEY = "Check TWELVELABS_API_KEY or api.key_file, and whose key it is; no task was changed by this."

ENDS: Mapping[TaskState, Reason] = {
    TaskState.FAILED: Reason(
        "The platform could not embed the video.",
        "Read its message below, mend the video, and submit it again: that makes a new task.",
    ),
    TaskState.EXPIRED: Reason(
        "The platform drops embeddings after seven days; nobody fetched these in time.",
        "Embed the video again: that makes a new task. If many expire, see `harvester status` and rate.*.",
    ),
    TaskState.MISSING: Reason(
        "The API does not know the task for this key: it said so three times, and once in its other version.",
        "Check the id, and whose key it is; then `harvester retry ID`.",
    ),
    TaskState.REJECTED: Reason(
        "The id, or three downloads in a row, were not acceptable.",
        "See the last error; once its cause is gone, `harvester retry ID`.",
    ),
}

API_CODES: Mapping[str, Reason] = {
    "resource_not_exists": Reason(
        "The API does not know the task: never made, made with another account's key, or dropped after seven days.",
        "Check the id, and whose key it is; then `harvester retry ID`. After seven days embed the video again.",
    ),
    "resource_not_exist": Reason(
        "The same as `resource_not_exists`, in the API's other spelling.",
        "See `resource_not_exists`.",
    ),
    "parameter_invalid": Reason(
        "The API does not accept the id, or a parameter, and never will.",
        "Check the id where it came from, and queue the right one.",
    ),
    "parameter_unknown": Reason(
        "The API does not know a parameter of the request.",
        "Check api.base_url and api.version; an upgrade may be needed.",
    ),
    "generic_error": Reason(
        "The API could not do it and does not say why; on a retrieval it is taken for not finished.",
        _NOTHING,
    ),
    "too_many_requests": Reason(
        "The rate limit is used up. It is not counted against the task.",
        "Nothing: requests wait as long as the API asks. If it is frequent, lower rate.requests_per_minute.",
    ),
    "api_key_invalid": Reason("The API refuses the key; everything stops.", _KEY),
    "unauthorized": Reason("The API refuses the key; everything stops.", _KEY),
    "api_not_allowed": Reason("The key may not use this part of the API; everything stops.", _KEY),
    "region_not_allowed": Reason(
        "The API does not serve this region; everything stops.",
        "Run the harvester elsewhere, or ask TwelveLabs.",
    ),
    "api_allowed_for_paid_plan": Reason(
        "The account's plan does not include this; everything stops.",
        "Change the plan, or use the key of an account that has it.",
    ),
}

OWN_CODES: Mapping[str, Reason] = {
    # What the API says without a code.
    "task_failed": Reason(
        "The platform could not embed the video; the message is its own.",
        "Mend the video as the message says, and submit it again.",
    ),
    "http_4xx": Reason(
        "The API, or a proxy before it, refused the request with that HTTP status and no code of its own.",
        "Check api.base_url and any proxy; 401 and 403 are about the key, 404 and 410 about the id.",
    ),
    "http_5xx": Reason(
        "The API, or a proxy before it, is in trouble: that HTTP status, and no code of its own.",
        f"{_NOTHING} If it lasts, see the status page of TwelveLabs.",
    ),
    "redirect": Reason(
        "The API answered with a redirect, which is not followed: the key would travel to another host.",
        "Correct api.base_url.",
    ),
    "not_modified": Reason(
        "A cache before the API answered 304, as if the request had asked whether something has changed.",
        f"{_NOTHING} If it lasts, look for a proxy that caches, and exempt api.base_url from it.",
    ),
    # What something before the API says.
    "blocked_by_proxy": Reason(
        "A 401 or 403 without an error of the API: a firewall, a CDN or a proxy blocks the request. The key is not"
        " refused.",
        f"{_NOTHING} If it lasts, let the owner of the firewall or proxy allow api.base_url; if there is none, check"
        " the key.",
    ),
    "proxy_auth_required": Reason(
        "The proxy wants credentials, or does not accept those that it got (407).",
        "Give them in HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT.",
    ),
    "proxy_refused": Reason(
        "The proxy opens no way to the API; the message has its answer.",
        f"{_NOTHING} If it lasts, ask the owner of the proxy, or exempt the API's host with NO_PROXY.",
    ),
    "proxy_unreachable": Reason(
        "The proxy that a variable names cannot be reached.",
        "Check HTTPS_PROXY and ALL_PROXY (`harvester doctor` shows which is in force), and whether the proxy runs.",
    ),
    "network_login_required": Reason(
        "The network asks for a login before it lets requests out (511), as in hotels.",
        "Log in with a browser on this machine.",
    ),
    # Answers that are not what was asked for; another try may bring it.
    "body_empty": Reason("The answer has no body.", _NOTHING),
    "body_cut": Reason("The answer ended too early.", _NETWORK),
    "body_damaged": Reason("The compressed answer cannot be unpacked.", _NETWORK),
    "unknown_encoding": Reason(
        "The answer is compressed in a way that was not asked for.",
        "Look for a proxy that changes answers, and at api.base_url.",
    ),
    "not_json": Reason(
        "The answer is a page or a text: a proxy's, a captive portal's, or that of a wrong address.",
        f"{_NOTHING} If it lasts, check api.base_url and any proxy.",
    ),
    "not_an_object": Reason("The answer is JSON, but no object.", f"{_NOTHING} If it lasts, check api.base_url."),
    "not_a_task": Reason(
        "The answer is a JSON object, but no task.", f"{_NOTHING} If it lasts, check api.base_url and api.version."
    ),
    "not_a_status": Reason(
        "The answer to a status call holds no status.",
        f"{_NOTHING} If it lasts, check api.base_url and api.version.",
    ),
    "not_a_list": Reason(
        "The answer to a list call holds no list.", f"{_NOTHING} If it lasts, check api.base_url and api.version."
    ),
    "key_echoed": Reason(
        "The answer repeats the API key. It was thrown away, so that the key is not stored.",
        "Look for a proxy that echoes headers; tell TwelveLabs if it is the API.",
    ),
    "another_page": Reason(
        "A page of the list bears another number than was asked for: it may belong to another request.",
        "Nothing: it is asked for again on a new connection.",
    ),
    "another_id": Reason(
        "The answer names the id of another task: it may belong to another request. Nothing of it is stored.",
        "Nothing: the task is asked again on a new connection. For many, look for a proxy that mixes up answers.",
    ),
    # Ends that are held back.
    "listed_failed": Reason(
        "The list says that the task has failed, without a reason.",
        "Nothing: the task itself is asked, which tells the reason.",
    ),
    "overdue": Reason(
        "The deadline has passed, and the API has not answered about the task since: it may still have the result.",
        "Check the network, api.base_url and `harvester doctor`. The task is asked ever more rarely, for 30 days.",
    ),
    "never_answered": Reason(
        "The API has given no answer about the task for 30 days after its deadline.",
        "Embed the video again: that makes a new task. `harvester retry ID` asks once more.",
    ),
    "other_key": Reason(
        "Another API key knew the task, and this one does not: it may be the key of another account.",
        "Check whose key it is. The task stays open, and is asked ever more rarely.",
    ),
    # Network.
    "connect_timeout": Reason("No connection within api.connect_timeout_s.", _NETWORK),
    "read_timeout": Reason(
        "The answer stalled for api.read_timeout_s, or took too long altogether.",
        f"{_NETWORK} For slow lines raise api.read_timeout_s, or lower harvest.concurrency.",
    ),
    "name_lookup_failed": Reason("The name of the API's host was not found.", _NETWORK),
    "tls_failed": Reason(
        "The server's certificate is not trusted, or no encrypted connection came about.",
        "Check the clock, the CA certificates (SSL_CERT_FILE names others), and any proxy that opens TLS. Verification"
        " cannot be switched off.",
    ),
    "connect_failed": Reason("The host refused the connection or cannot be reached.", _NETWORK),
    "connection_lost": Reason("The connection broke in the middle of an answer.", _NETWORK),
    "protocol_error": Reason(
        "What came is not HTTP as expected.", "Check api.base_url, its port, and any proxy in between."
    ),
    # Complete answers that cannot be stored.
    "no_segments": Reason(
        "The task is ready, but its answer holds no segments. So it is for a moment before a result appears, after it"
        " was dropped, and where the API has changed its format.",
        _READ_RAW,
    ),
    "segments_invalid": Reason(
        "A segment cannot be stored: the message says which one, which field, and what is wrong.", _READ_RAW
    ),
    "duplicate_key": Reason(
        "An object of the answer gives a key twice: which value is meant cannot be told.", _READ_RAW
    ),
    "payload_invalid": Reason("The answer is complete, but cannot be stored.", _READ_RAW),
    "document_invalid": Reason(
        "The answer can be read, but not be given back as it was (nested hundreds of levels deep).", _READ_RAW
    ),
    "json_invalid": Reason(
        "The answer is complete, but not JSON: NaN, an impossible number or text. The message says where.", _READ_RAW
    ),
    "body_too_large": Reason(
        "The answer is larger than api.max_body_bytes, as received or unpacked, or far larger parsed.",
        "If so large a result is right, raise api.max_body_bytes; then `harvester retry --from-kept ID` where a body is"
        " kept, else `harvester retry ID`.",
    ),
    # This machine.
    "machine_refuses": Reason(
        "The operating system refuses what a request needs: a descriptor, a port, memory, a thread, the right to"
        " connect, or a place for a long body.",
        "See the message: raise the limit (`ulimit -n`, LimitNOFILE=, memory of the container), free a writable TMPDIR,"
        " or lower harvest.concurrency. Requests go on by themselves.",
    ),
    "decode_worker_died": Reason(
        "The process that decoded the answer was killed, most likely for want of memory.",
        "Look into the kernel's log; give it more memory, or lower harvest.concurrency.",
    ),
    "decode_impossible": Reason(
        "The answer could not be decoded here: no memory, no more processes or files.",
        "See the message; give it more memory or file handles, or lower harvest.concurrency.",
    ),
    "task_id_invalid": Reason(
        "Another program queued an id that cannot be one: letters, digits, '-' and '_', 128 at most.",
        "Queue the right id with `harvester add`.",
    ),
    "stored_damaged": Reason(
        "What was stored of the task was damaged; `harvester verify --deep --repair` removed it and put the task back.",
        "Nothing: it is downloaded again. Check the disk.",
    ),
}

UNKNOWN = Reason(
    "A code of the API that this version does not know; the message is the API's own.",
    "Read the message; the documentation of the API lists its codes. The task is handled by the HTTP status alone.",
)

_HTTP = re.compile(r"http_([45])\d\d")


def explain(code: str) -> Reason:
    """Return what an error code means; UNKNOWN for one that only the API knows."""
    http = _HTTP.fullmatch(code)
    family = f"http_{http[1]}xx" if http else code
    return OWN_CODES.get(family) or API_CODES.get(family) or UNKNOWN
