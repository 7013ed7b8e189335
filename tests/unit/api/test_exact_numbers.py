"""No number changes silently: each number of JSON is returned as the same value, or refused by name."""

import io
import json
import pickle
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.api.decode import streaming
from harvester.api.decode.number_scan import may_alter_numbers
from harvester.api.decode.result import Decoded, decode_file, decode_retrieval
from harvester.domain.tasks.embeddings import SegmentRow, TaskEmbeddings, rebuild
from harvester.domain.tasks.exact_numbers import alters_numbers
from harvester.domain.tasks.outcomes import Invalid, Retrieved
from harvester.store.sqlite.json_columns import dump_json, load_json
from tests.support.thorough import examples

CAP_BYTES = 1 << 24

ODD = [
    *("123456789012345678901234567890", "-340282366920938463463374607431768211455", "18446744073709551617"),
    *(
        "1e-400",
        "-1E-400",
        "0.1e-330",
        "2.5e-324",
        "1.23456789e-320",
        "0.1234567890123456789",
        "1.00000000000000000001",
    ),
    *("0.10000000000000000555", "123456789.123456789123", "9007199254740993.5"),
]
PLAIN = ["0", "-0.0", "6.0", "1e2", "100.00", "0.1", "1e22", "18446744073709551615", "-9223372036854775808", "5e-324"]
PLACES = {
    "metadata": '{"status":"ready","video_embedding":{"metadata":{"x":[@]},"segments":[{"float":[0.5,0.25],'
    '"start_offset_sec":0,"end_offset_sec":6}]}}',
    "duration": '{"status":"ready","video_embedding":{"metadata":{"duration":@},"segments":[{"float":[0.5,0.25],'
    '"start_offset_sec":0,"end_offset_sec":6}]}}',
    "segment": '{"status":"ready","data":[{"embedding":[0.5,0.25],"start_sec":0,"other":{"deep":@}},'
    '{"embedding":[1.5,2]}]}',
    "outside": '{"status":"ready","data":[{"embedding":[0.5,0.25]}],"usage":@}',
    "beside strings": '{"status":"ready","data":[{"embedding":[0.5,0.25],"a":"1\\"2","b\\\\":@,"c":"e-400"}]}',
}
VECTOR = '{"status":"ready","data":[{"embedding":[0.5,@]},{"embedding":[0.25,0.125]}]}'
START = '{"status":"ready","data":[{"embedding":[0.5,0.25],"start_sec":@,"end_sec":null}]}'


def decoded(text: str) -> Decoded:
    """Decode in both ways, which must agree."""
    body = text.encode()
    whole = decode_retrieval(body, None, CAP_BYTES)
    assert repr(given_back(whole)) == repr(given_back(decode_file(io.BytesIO(body), None, CAP_BYTES)))
    return whole


def given_back(outcome: Decoded) -> Any:
    """Go through what is stored and return the values of the JSON that is given back, as Decimal."""
    if not isinstance(outcome, Retrieved):
        return outcome
    one: TaskEmbeddings = pickle.loads(pickle.dumps(outcome.embeddings))
    extras = {position: load_json(dump_json(extra).decode()) for position, extra in one.extras.items()}
    columns = zip(one.options, one.scopes, one.starts, one.ends, one.vectors, one.layout_of, strict=True)
    rows = [replace(SegmentRow(*row), extra=extras.get(position)) for position, row in enumerate(columns)]
    return values(dump_json(rebuild(load_json(one.document.decode()), one.layouts, rows)))


def values(text: str | bytes) -> Any:
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


@pytest.mark.parametrize("number", ODD + PLAIN)
@pytest.mark.parametrize("place", PLACES)
def test_a_number_outside_of_the_vectors_is_given_back_as_it_was_received(place: str, number: str) -> None:
    text = PLACES[place].replace("@", number)
    outcome = decoded(text)
    assert values(text) == given_back(outcome)


def test_an_exponent_too_large_to_calculate_with_is_returned_unchanged() -> None:
    outcome = decode_retrieval(PLACES["outside"].replace("@", "1e-99999999999999999999").encode(), None, CAP_BYTES)
    assert isinstance(outcome, Retrieved)
    assert outcome.embeddings.document.endswith(b'"usage":1e-99999999999999999999}')


@pytest.mark.parametrize("text", [VECTOR, START])
@pytest.mark.parametrize("number", ODD + PLAIN)
def test_a_number_of_a_column_is_given_back_or_refused(text: str, number: str) -> None:
    text = text.replace("@", number)
    outcome = decoded(text)
    if not isinstance(outcome, Invalid):
        assert values(text) == given_back(outcome)


def test_a_column_holds_the_float_that_is_nearest_and_the_text_is_kept_beside_it() -> None:
    outcome = decoded(VECTOR.replace("@", "0.1234567890123456789"))
    assert isinstance(outcome, Retrieved)
    assert outcome.embeddings.vectors.tolist() == [[0.5, 0.1234567890123456789], [0.25, 0.125]]
    assert dump_json(outcome.embeddings.extras[0]) == b'{"embedding":[0.5,0.1234567890123456789]}'


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        (VECTOR, "1e-400", "data[0].embedding[1]: a number too small for a floating-point number."),
        (VECTOR, ODD[0], "data[0].embedding[1]: an integer that no floating-point number equals."),
        (START, "1e-400", "data[0].start_sec: 1e-400 is not a time that a floating-point number is near."),
        (START, ODD[0], f"data[0].start_sec: {ODD[0]} is not a time that a floating-point number is near."),
    ],
)
def test_a_number_that_is_near_no_float_is_refused_by_its_place(text: str, number: str, reason: str) -> None:
    assert decoded(text.replace("@", number)) == Invalid(reason, "segments_invalid")


def test_a_large_body_is_taken_apart_unless_a_number_of_it_would_be_altered() -> None:
    vector = ",".join(["0.25"] * 64)
    rows = ",".join(f'{{"embedding":[{vector}],"start_sec":{row}}}' for row in range(2000))
    for number, is_regular in (
        ("0.123456789012345", True),
        ("0.1234567890123456", True),
        (ODD[5], False),
        ("1e-400", False),
    ):
        body = f'{{"data":[{rows},{{"embedding":[{",".join([number] * 64)}],"start_sec":9}}]}}'.encode()
        pieces = [body[start : start + 4096] for start in range(0, len(body), 4096)]
        assert is_regular == (streaming.split(pieces) is not None)
        assert is_regular == (streaming.split([body]) is not None)


def digits(least: int, most: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=least, max_size=most)


numbers = st.builds(
    lambda sign, whole, part, exponent: sign + (whole.lstrip("0") or "0") + part + exponent,
    st.sampled_from(["", "-"]),
    digits(1, 25),
    st.just("") | digits(1, 25).map(".".__add__),
    st.just("") | st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), digits(1, 4)),
)


@examples(400)
@given(st.sampled_from([*PLACES.values(), VECTOR, START]), numbers)
def test_any_number_anywhere_is_given_back_or_refused(text: str, number: str) -> None:
    text = text.replace("@", number)
    outcome = decoded(text)
    if not isinstance(outcome, Invalid):
        assert values(text) == given_back(outcome)


@examples(300)
@given(numbers, st.integers(0, 200), st.integers(0, 20))
def test_the_quick_scan_misses_nothing(number: str, before: int, after: int) -> None:
    text = ("[" + " " * before + number + " " * after + "]").encode()
    if abs(float(number)) != np.inf and alters_numbers(text):
        assert may_alter_numbers(text)


@pytest.mark.parametrize("number", [b"0.1234567890123456789", b"1e-400"])
@pytest.mark.parametrize("place", range(131_050, 131_090, 3))
def test_the_quick_scan_finds_a_number_across_two_pieces(number: bytes, place: int) -> None:
    assert may_alter_numbers(b" " * place + number + b" ")
    assert not may_alter_numbers(b" " * place + b"0.1234567890123 ")
