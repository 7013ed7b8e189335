import json
import sys
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.decode.body import BodyError, parse_object
from harvester.api.decode.duplicate_keys import refuse_duplicate_keys
from harvester.api.decode.result import decode_retrieval
from harvester.domain.tasks.outcomes import Invalid

NESTED = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(':\\"a{,\x1f€', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", ":", "float", "€"]), inner),
    max_leaves=12,
)


def refusal(body: bytes) -> str | None:
    try:
        refuse_duplicate_keys(parse_object(body), body)
    except BodyError as error:
        return error.outcome.message if error.outcome.code == "duplicate_key" else repr(error.outcome)
    return None


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"a":1,"a":2}', "'a'"),
        (b'{"a":{"b":1,"c":{"d":1,"d":1}}}', "'d'"),
        (b'{"a":[{"float":[1],"float":[2]}]}', "'float'"),
        (b'{"float":[{"a":1,"a":1}]}', "'a'"),
        (b'{"a":":","a":2}', "'a'"),
        (b'{"a":1,"a":2,"b":"\\u003a"}', "'a'"),
        (b'{"a":1,"\\u0061":2,"b":"\\u003A:"}', "'a'"),
        (b'{"\xe2\x82\xac":1,"\xe2\x82\xac":2}', r"'\u20ac'"),
        (b'{"a":1,"a":"' + b"7" * 5000 + b'","c":1e300}', "'a'"),
    ],
)
def test_a_key_that_is_given_twice_is_named(body: bytes, key: str) -> None:
    assert refusal(body) == f"The answer gives the key {key} twice in one object."


def test_one_that_is_too_deep_to_be_named_is_refused_all_the_same() -> None:
    body = b'{"n":' + b"[" * 1000 + b'{"a":1,"a":2}' + b"]" * 1000 + b"}"
    # How deep the standard library's parser can look depends on the version of Python.
    shown = "'(deep inside)'" if sys.version_info < (3, 12) else "'a'"
    assert refusal(body) == f"The answer gives the key {shown} twice in one object."


@given(st.dictionaries(st.text(":a\\", max_size=3), NESTED), st.booleans())
def test_an_object_without_is_never_refused(document: dict[str, Any], escaped: bool) -> None:  # noqa: FBT001
    body = json.dumps(document, ensure_ascii=escaped).encode()
    assert refusal(body) is None
    assert refusal(orjson.dumps(document)) is None


@given(st.data(), NESTED)
def test_wherever_a_key_is_given_twice_it_is_found(data: st.DataObject, value: Any) -> None:
    once = json.dumps({"a": value, "b": [{"c": value}], "float": [{"d": value}]})
    place = data.draw(st.sampled_from(['"a":', '"b":', '"c":', '"d":']))
    doubled = data.draw(st.sampled_from(["0", '":"', '"\\u003a"', "[]"]))
    assert refusal(once.replace(place, f"{place} {doubled}, {place}", 1).encode()) is not None


def test_a_result_with_one_is_not_acceptable() -> None:
    body = b'{"status":"ready","video_embedding":{"segments":[]},"status":"processing"}'
    assert isinstance(decode_retrieval(body, None, 1 << 20), Invalid)
