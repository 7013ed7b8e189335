"""Explains to a person why a task is not harvested: the meaning and the remedy of each end and each error code.

The API may send codes that it does not document: for these there is UNKNOWN. docs/howto/troubleshooting.md has the same
words.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harvester.domain.tasks.task import TaskState


@dataclass(frozen=True, slots=True)
class Reason:
    """The meaning of an end or a code, and its remedy; sentences in which `ID` stands for the task id."""

    meaning: str
    remedy: str


_NOTHING = "Nothing: the harvest tries again by itself, after the deadline ever more rarely."
_NETWORK = "Nothing for a single task. For many: run `harvester doctor`, then check network, proxy and DNS."
_READ_RAW = (
    "Read it with `harvester show ID --raw`. If the API has changed its format, upgrade, then "
    "`harvester retry --from-kept ID`; if the body is wrong, `harvester retry ID` downloads it again."
)
_KEY = "Check TWELVELABS_API_KEY or api.key_file, and which account the key belongs to. No task was changed."

ENDS: Mapping[TaskState, Reason] = {
    TaskState.FAILED: Reason(
        "The platform could not embed the input.",
        "The last error says whether to submit the same again or to change the input; both make a new task.",
    ),
    TaskState.EXPIRED: Reason(
        "The platform drops embeddings after seven days; these were not retrieved in time.",
        "Embed the video again: that makes a new task. If many tasks expire, see `harvester status` and rate.*.",
    ),
    TaskState.MISSING: Reason(
        "The API does not know the task for this key: three answers said so, and one of the other API version.",
        "Check the id, and which account the key belongs to; then `harvester retry ID`.",
    ),
    TaskState.REJECTED: Reason(
        "The API refuses the id, or three downloads could not be stored.",
        "See the last error; when its cause is removed, `harvester retry ID`.",
    ),
}

API_CODES: Mapping[str, Reason] = {
    "resource_not_exists": Reason(
        "The API does not know the task: never made, made with another account's key, or dropped after seven days.",
        "Check the id, and which account the key belongs to; then `harvester retry ID`. After seven days embed the"
        " video again.",
    ),
    "resource_not_exist": Reason(
        "The same as `resource_not_exists`, in the API's other spelling.",
        "See `resource_not_exists`.",
    ),
    "parameter_invalid": Reason(
        "The API refuses the id, or a parameter, for good.",
        "Check the id at its source, and queue the right one.",
    ),
    "parameter_unknown": Reason(
        "The API does not know a parameter of the request.",
        "Check api.base_url and api.version; an upgrade may be needed.",
    ),
    "generic_error": Reason(
        "The API failed and gives no reason; for a retrieval this counts as not finished.",
        _NOTHING,
    ),
    "too_many_requests": Reason(
        "The rate limit is used up. The request does not count as an attempt at the task.",
        "Nothing: requests wait as long as the API asks. If it happens often, lower rate.requests_per_minute.",
    ),
    "api_key_invalid": Reason("The API refuses the key; everything stops.", _KEY),
    "unauthorized": Reason("The API refuses the key; everything stops.", _KEY),
    "api_not_allowed": Reason("The key may not use this part of the API; everything stops.", _KEY),
    "region_not_allowed": Reason(
        "The API does not serve this region; everything stops.",
        "Run the harvester in another region, or ask TwelveLabs.",
    ),
    "api_upgrade_required": Reason(
        "The API no longer serves this version of its calls. It says nothing about the task, which stays open.",
        "Upgrade the harvester; until then set api.version to the API's other version.",
    ),
    "api_allowed_for_paid_plan": Reason(
        "The account's plan does not include this; everything stops.",
        "Change the plan, or use the key of an account that has it.",
    ),
}

OWN_CODES: Mapping[str, Reason] = {
    # Errors that the API sends without a code.
    "task_failed": Reason(
        "The platform could not embed the input; its message is of no kind that this version knows.",
        "Read the message. If the input is right, submit it again once.",
    ),
    "task_failed_platform": Reason(
        "The platform failed, and the input is not at fault.",
        "Submit the same input again, as it is: that makes a new task.",
    ),
    "task_failed_unclear": Reason(
        "The platform did not finish, and does not say whether it or the input is at fault.",
        "Submit the same input again once; if that fails too, change the input.",
    ),
    "task_failed_too_large": Reason(
        "The input is larger, longer or smaller than the platform takes; the message has its limit.",
        "Cut or convert the input to fit that limit, and submit it again.",
    ),
    "task_failed_unreachable": Reason(
        "The platform could not read the input from its URL.",
        "Check that the URL can be opened without a login, and submit it again with a URL that is valid for longer.",
    ),
    "task_failed_input": Reason(
        "The platform refuses the input: its file or the request is not valid.",
        "Check the file's format as the message says, repair or convert it, and submit it again.",
    ),
    "result_expired": Reason(
        "The platform has dropped the result: it keeps embeddings for seven days.",
        "Embed the input again: that makes a new task. If many tasks expire, see `harvester status` and rate.*.",
    ),
    "http_4xx": Reason(
        "The API, or a proxy before it, refused the request with that HTTP status and no code of its own.",
        "Check api.base_url and any proxy; 401 and 403 are about the key, 404 and 410 about the id.",
    ),
    "http_5xx": Reason(
        "The API, or a proxy before it, failed with that HTTP status and no code of its own.",
        f"{_NOTHING} If it lasts, see the status page of TwelveLabs.",
    ),
    "redirect": Reason(
        "The API answered with a redirect, which is not followed: the key would go to another host.",
        "Correct api.base_url.",
    ),
    "not_modified": Reason(
        "A cache before the API answered 304 (not modified), although the request was not conditional.",
        f"{_NOTHING} If it lasts, look for a proxy that caches, and exempt api.base_url from it.",
    ),
    # Answers of a proxy or a network before the API.
    "blocked_by_proxy": Reason(
        "A 401 or 403 without an error of the API: a firewall, a CDN or a proxy blocks the request. The key is not"
        " refused.",
        f"{_NOTHING} If it lasts, ask the owner of the firewall or proxy to allow api.base_url; if there is none,"
        " check the key.",
    ),
    "proxy_auth_required": Reason(
        "The proxy requires credentials, or refuses those in its URL (407).",
        "Give them in HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT.",
    ),
    "proxy_refused": Reason(
        "The proxy refuses to connect to the API; the message has its answer.",
        f"{_NOTHING} If it lasts, ask the owner of the proxy, or exempt the API's host with NO_PROXY.",
    ),
    "proxy_unreachable": Reason(
        "The proxy that a variable names cannot be reached.",
        "Check HTTPS_PROXY and ALL_PROXY (`harvester doctor` shows which one is used), and whether the proxy runs.",
    ),
    "network_login_required": Reason(
        "The network asks for a login before it lets requests out (511), as in hotels.",
        "Log in with a browser on this machine.",
    ),
    # Answers of the wrong kind; another request may bring the right one.
    "body_empty": Reason("The answer has no body.", _NOTHING),
    "body_cut": Reason("The answer ended too early.", _NETWORK),
    "body_damaged": Reason("The compressed answer cannot be unpacked.", _NETWORK),
    "unknown_encoding": Reason(
        "The answer is compressed in a way that the request did not ask for.",
        "Look for a proxy that changes answers, and check api.base_url.",
    ),
    "not_json": Reason(
        "The answer is a page or a text: from a proxy, a captive portal, or a wrong address.",
        f"{_NOTHING} If it lasts, check api.base_url and any proxy.",
    ),
    "not_an_object": Reason("The answer is JSON, but not an object.", f"{_NOTHING} If it lasts, check api.base_url."),
    "not_a_task": Reason(
        "The answer is a JSON object, but not a task.", f"{_NOTHING} If it lasts, check api.base_url and api.version."
    ),
    "not_a_status": Reason(
        "The answer to a status call holds no status.",
        f"{_NOTHING} If it lasts, check api.base_url and api.version.",
    ),
    "not_a_list": Reason(
        "The answer to a list call holds no list.", f"{_NOTHING} If it lasts, check api.base_url and api.version."
    ),
    "key_echoed": Reason(
        "The answer repeats the API key. It was discarded, so that the key is not stored.",
        "Look for a proxy that echoes headers; report it to TwelveLabs if the API does so.",
    ),
    "another_page": Reason(
        "A page of the list has another number than the requested one: it may belong to another request.",
        "Nothing: the harvest requests it again on a new connection.",
    ),
    "another_id": Reason(
        "The answer names the id of another task: it may belong to another request. Nothing of it is stored.",
        "Nothing: the harvest asks again on a new connection. For many tasks look for a proxy that mixes up answers.",
    ),
    "version_not_served": Reason(
        "One version of the API is not available for this key. The other one is asked about the task.",
        "Nothing. If the key should have both versions, ask TwelveLabs; api.version says which is asked first.",
    ),
    # Ends that are held back.
    "listed_failed": Reason(
        "The list says that the task has failed, in most cases without a reason.",
        "Nothing: the harvest asks for the task itself, which brings the reason.",
    ),
    "overdue": Reason(
        "The deadline has passed, and the API has not answered about the task since: it may still have the result.",
        "Check the network, api.base_url and `harvester doctor`. The harvest asks ever more rarely, for 30 days.",
    ),
    "never_answered": Reason(
        "The API has given no answer about the task for 30 days after its deadline.",
        "Embed the video again: that makes a new task. `harvester retry ID` tries once more.",
    ),
    "other_key": Reason(
        "The task was found with another API key and is not found with this one, which may belong to another account.",
        "Check which account the key belongs to. The task stays open, and the harvest asks ever more rarely.",
    ),
    # Network.
    "connect_timeout": Reason("No connection within api.connect_timeout_s.", _NETWORK),
    "read_timeout": Reason(
        "The answer stalled for api.read_timeout_s, or took too long in total.",
        f"{_NETWORK} For slow lines raise api.read_timeout_s, or lower harvest.concurrency.",
    ),
    "name_lookup_failed": Reason("The name of the API's host was not found.", _NETWORK),
    "tls_failed": Reason(
        "The server's certificate is not trusted, or the encrypted connection could not be made.",
        "Check the clock, the CA certificates (SSL_CERT_FILE names others), and any proxy that opens TLS. Verification"
        " cannot be switched off.",
    ),
    "connect_failed": Reason("The host refused the connection or cannot be reached.", _NETWORK),
    "connection_lost": Reason("The connection broke in the middle of an answer.", _NETWORK),
    "protocol_error": Reason(
        "The answer is not valid HTTP.", "Check api.base_url, its port, and any proxy in between."
    ),
    # Complete answers that cannot be stored.
    "no_segments": Reason(
        "The task is ready, but its answer holds no segments. This happens shortly before a result appears, after the"
        " platform has dropped it, and if the API has changed its format.",
        _READ_RAW,
    ),
    "embedding_option_refused": Reason(
        "The API refuses an embedding option that the result was asked for; the task stays open.",
        "Correct harvest.embedding_options, or choose for the task: `harvester add ID --retrieve all`. On the last"
        " day before the deadline everything is asked for.",
    ),
    "segments_invalid": Reason(
        "A segment cannot be stored: the message says which one, which field, and what is wrong.", _READ_RAW
    ),
    "duplicate_key": Reason("An object of the answer has a key twice, so the right value is unknown.", _READ_RAW),
    "payload_invalid": Reason("The answer is complete, but cannot be stored.", _READ_RAW),
    "document_invalid": Reason(
        "The answer can be read, but not stored so that it can be given back unchanged (hundreds of levels deep).",
        _READ_RAW,
    ),
    "json_invalid": Reason(
        "The answer is complete, but not valid JSON: NaN, an impossible number or text. The message says where.",
        _READ_RAW,
    ),
    "body_too_large": Reason(
        "The answer is larger than api.max_body_bytes, as received or unpacked, or far larger parsed.",
        "If such a large result is right, raise api.max_body_bytes; then `harvester retry --from-kept ID` if a body is"
        " kept, else `harvester retry ID`.",
    ),
    # This machine.
    "machine_refuses": Reason(
        "The operating system refuses a resource that a request needs: a descriptor, a port, memory, a thread, the"
        " right to connect, or a place for a long body.",
        "See the message: raise the limit (`ulimit -n`, LimitNOFILE=, memory of the container), provide a writable"
        " TMPDIR, or lower harvest.concurrency. Requests resume by themselves.",
    ),
    "decode_worker_died": Reason(
        "The process that decoded the answer was killed, probably because memory ran out.",
        "Read the kernel's log; provide more memory, or lower harvest.concurrency.",
    ),
    "decode_impossible": Reason(
        "This machine could not decode the answer: no memory, no more processes or files.",
        "See the message; provide more memory or file descriptors, or lower harvest.concurrency.",
    ),
    "task_id_invalid": Reason(
        "Another program queued an impossible id: an id has letters, digits, '-' and '_', 128 at most.",
        "Queue the right id with `harvester add`.",
    ),
    "stored_damaged": Reason(
        "The stored result was damaged; `harvester verify --deep --repair` removed it and put the task back.",
        "Nothing: the next harvest downloads it again. Check the disk.",
    ),
}

UNKNOWN = Reason(
    "A code of the API that this version does not know; the message is that of the API.",
    "Read the message; the documentation of the API lists its codes. The HTTP status alone decides what happens.",
)

_HTTP = re.compile(r"http_([45])\d\d")


def explain(code: str) -> Reason:
    """Return meaning and remedy of an error code; UNKNOWN for a code that is not listed here."""
    http = _HTTP.fullmatch(code)
    family = f"http_{http[1]}xx" if http else code
    return OWN_CODES.get(family) or API_CODES.get(family) or UNKNOWN
