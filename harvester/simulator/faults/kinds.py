"""Every kind of misbehaviour by its name, in the order of `docs/faults.md`."""

from harvester.simulator.faults import answers, connections, payloads, wires
from harvester.simulator.faults.answers import altered, saying
from harvester.simulator.faults.model import Kind, Serve
from harvester.simulator.faults.payloads import first_number, segments, spoilt
from harvester.simulator.faults.wires import broken
from harvester.simulator.request_log import Endpoint

_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_ERROR_BODY = b'{"code":"internal_server_error","message":"Something went wrong."}'
_ABOUT_TASKS: tuple[Endpoint, ...] = ("status", "retrieve")


def _retry_after(text: str) -> float:
    return float(text.removeprefix("date") or 0) if text.startswith("date") else 0.0


def _wire(row: int, write: wires.Write, seconds: float = 3600.0) -> Kind:
    return Kind((row,), broken(write, seconds), value=float)


def _followed(row: int, extra: connections.Extra, late_s: float = connections.LATE_S) -> Kind:
    return Kind((row,), connections.followed(extra, late_s), value=float)


def _about_tasks(row: int, serve: Serve) -> Kind:
    return Kind((row,), serve, _ABOUT_TASKS)


def _list(serve: Serve) -> Kind:
    return Kind((14,), serve, ("list",))


def _result(row: int, serve: Serve) -> Kind:
    return Kind((row,), serve, ("retrieve",))


KINDS: dict[str, Kind] = {
    "reset": _wire(1, wires.reset),
    "length_too_large": _wire(1, wires.length_too_large),
    "length_too_small": _wire(1, wires.length_too_small),
    "not_http": _wire(1, wires.not_http),
    "stall": _wire(2, wires.stall),
    "silence": _wire(2, wires.silence),
    "drip": _wire(2, wires.drip, seconds=1.0),
    "cut_without_length": _wire(3, wires.cut_without_length),
    "cut_gzip": Kind((4,), answers.cut_gzip),
    "dropped": _wire(6, wires.dropped),
    "throttled": Kind((7, 8), answers.throttled, value=_retry_after),
    "problem": Kind((9, 10, 36, 39), answers.problem),
    "page": Kind((11,), saying(_PAGE, "text/html")),
    "error_body": Kind((11,), saying(_ERROR_BODY)),
    "null": Kind((11,), saying(b"null")),
    "list": Kind((11,), saying(b"[]")),
    "unknown_status": _about_tasks(12, answers.with_status("transcoding")),
    "status_goes_back": _about_tasks(12, answers.with_status("processing")),
    "another_id": _about_tasks(13, altered(answers.another_id)),
    "neighbours_id": Kind((35,), answers.neighbours_id, _ABOUT_TASKS),
    "id_refused": Kind((39,), answers.id_refused, _ABOUT_TASKS),
    "failed": Kind((39,), answers.with_status("failed"), _ABOUT_TASKS),
    "listed_failed": Kind((40,), altered(answers.listed_failed), ("list",)),
    "list_shifts": _list(answers.list_shifts),
    "total_page_too_small": _list(altered(answers.total_page_too_small)),
    "total_page_too_large": _list(altered(answers.total_page_too_large)),
    "endless_list": _list(answers.endless_list),
    "bomb": Kind((15,), answers.bomb, value=int),
    "endless_body": _wire(15, wires.endless),
    "length_over_any_cap": _wire(15, wires.length_over_any_cap),
    "deep": _result(16, spoilt(payloads.deep)),
    "nan": Kind((17, 39), spoilt(first_number(b"NaN")), ("retrieve",)),
    "too_large_number": _result(17, spoilt(first_number(b"1e999"))),
    "long_integer": _result(17, spoilt(first_number(b"7" * payloads.DIGITS))),
    "lone_surrogate": _result(17, spoilt(payloads.lone_surrogate)),
    "duplicate_key": _result(17, spoilt(payloads.duplicate_key)),
    "duplicate_key_in_metadata": _result(17, spoilt(payloads.duplicate_key_in_metadata)),
    "duplicate_key_in_segment": _result(17, spoilt(payloads.duplicate_key_in_segment)),
    "uneven": _result(18, spoilt(segments(payloads.uneven))),
    "empty_vector": _result(18, spoilt(segments(payloads.empty_vector))),
    "missing_time": _result(18, spoilt(segments(payloads.missing_time))),
    "negative_time": _result(18, spoilt(segments(payloads.negative_time))),
    "no_segments": Kind((18, 39), spoilt(segments(payloads.no_segments)), ("retrieve",)),
    "doubles": _result(19, spoilt(segments(payloads.doubles))),
    "exact_numbers": _result(49, spoilt(payloads.exact_numbers)),
    "underflow": _result(49, spoilt(first_number(b"1e-400"))),
    "integer_between_floats": _result(49, spoilt(first_number(b"9007199254740993"))),
    "key_echoed": Kind((31,), answers.key_echoed),
    "key_escaped": Kind((31,), answers.key_escaped),
    "redirect": Kind((32,), answers.redirect),
    "hostile_name": _result(34, payloads.hostile_name),
    "late_copy": _followed(35, connections.copy_of),
    "doubled": _followed(35, connections.copy_of, late_s=0.0),
    "stray_404": _followed(36, connections.not_found),
    "stray_408": _followed(36, connections.idle_too_long),
    "stray_100": _followed(36, connections.go_on),
    "blocked": Kind((37,), answers.blocked),
    "busy": Kind((38,), answers.busy),
    "long_headers": Kind((41,), answers.long_headers),
    "odd_encoding": Kind((41,), answers.odd_encoding),
    "unpacked": Kind((41,), answers.unpacked),
    "raw_deflate": Kind((41,), answers.raw_deflate),
    "byte_order_mark": Kind((41,), answers.byte_order_mark),
    "early_hints": _wire(41, wires.early_hints),
    "doubled_length": _wire(41, wires.doubled_length),
}
