"""Lossless, checked at every number, and wrong vectors are refused by their place."""

import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from harvester.api.decode.vectors import VectorError, pack
from harvester.domain.tasks.embeddings import Matrix
from tests.support.thorough import examples

NAME = "segments[{}].float"


def packed(rows: list[Any]) -> Matrix:
    return pack(rows, name=NAME)


def written(matrix: Matrix) -> bytes:
    return orjson.dumps(matrix, option=orjson.OPT_SERIALIZE_NUMPY)


def read_back(matrix: Matrix) -> list[list[float]]:
    rows: list[list[float]] = orjson.loads(written(matrix))
    return rows


def embeddings(rows: int, dim: int) -> list[list[float]]:
    """Float32 vectors of unit length, as the API writes them."""
    vectors = np.random.default_rng(7).standard_normal((rows, dim))
    return read_back((vectors / np.linalg.norm(vectors, axis=1)[:, None]).astype("<f4"))


LARGE = embeddings(200, 64)

finite = st.floats(allow_nan=False, allow_infinity=False)
float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
shapes = arrays_of.array_shapes(min_dims=2, max_dims=2, max_side=12)
# Decimals that are nearly what a float32 is written as: the digits of one, a few too many or too few.
nearly_float32 = st.builds(lambda number, digits: float(f"{number:.{digits}e}"), float32s, st.integers(3, 12))
tricky = st.sampled_from(
    [
        16_777_217.0,  # eight digits, but between two float32
        8_388_608.5,
        0.123456789,
        0.1 + 0.2,
        0.5000000000000001,  # the next double after a float32
        float(np.float32(0.1)),  # a float32 in seventeen digits: written as 0.1 it would read differently
        1.00390625,  # two shortest forms are equally near
        0.0017626591,  # nearer to a float32 than its shortest form 0.001762659
        1e-46,
        1e-60,
        5e-324,
        2.0**-126,
        1e39,
        1.7e308,
        -0.0,
    ]
)


@examples(150)
@given(arrays_of.arrays("<f4", shapes, elements=float32s))
def test_float32_in_its_shortest_form_comes_back_bit_for_bit(matrix: Matrix) -> None:
    result = packed(read_back(matrix))
    assert (result.dtype, result.tobytes()) == (matrix.dtype, matrix.tobytes())


@examples(60)
@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_float32_of_every_magnitude_comes_back_bit_for_bit(exponent: int, seed: int) -> None:
    mantissas = np.random.default_rng(seed).integers(0, 2**23, (8, 256), dtype=np.uint32)
    mantissas[0, :8] = [0, 1, 2, 2**22, 2**22 + 1, 2**23 - 2, 2**23 - 1, 0]
    matrix = ((np.uint32(min(exponent, 254)) << np.uint32(23)) | mantissas).view("<f4")
    result = packed(read_back(matrix))
    assert (result.dtype, result.tobytes()) == (matrix.dtype, matrix.tobytes())


@examples(300)
@given(st.integers(1, 5).flatmap(lambda dim: st.lists(st.lists(finite, min_size=dim, max_size=dim), min_size=1)))
def test_any_finite_numbers_come_back_equal(rows: list[list[float]]) -> None:
    assert read_back(packed(rows)) == rows


@examples(200)
@given(st.lists(st.one_of(nearly_float32, tricky, float32s), min_size=1, max_size=40))
def test_numbers_that_are_nearly_float32_come_back_equal(row: list[float]) -> None:
    assert read_back(packed([row])) == [row]


@examples(60)
@given(st.integers(0, 199), st.integers(0, 63), st.one_of(finite, nearly_float32, tricky))
def test_one_stray_number_anywhere_in_a_large_matrix_comes_back_equal(row: int, place: int, stray: float) -> None:
    rows = [list(vector) for vector in LARGE]
    rows[row][place] = stray
    assert read_back(packed(rows)) == rows


@pytest.mark.parametrize("place", [(0, 0), (1, 63), (101, 17), (198, 0), (199, 63)])
@pytest.mark.parametrize(
    "stray", [0.12345678901234568, 0.0017626591, 0.1 + 0.2, 0.5000000000000001, 1e-60, 16_777_217.0, 1e300]
)
def test_one_number_that_float32_cannot_hold_makes_the_matrix_float64(place: tuple[int, int], stray: float) -> None:
    rows = [list(vector) for vector in LARGE]
    rows[place[0]][place[1]] = stray
    assert packed(rows).dtype == np.dtype("<f8")


@examples(50)
@given(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=10))
def test_whole_numbers_come_back_equal(row: list[int]) -> None:
    assert read_back(packed([row])) == [row]


def test_a_matrix_of_embeddings_takes_half_the_space_of_doubles() -> None:
    assert packed(LARGE).nbytes == 200 * 64 * 4


def test_the_bytes_are_little_endian() -> None:
    assert packed([[1.0, -2.5]]).tobytes() == struct.pack("<2f", 1.0, -2.5)


def test_the_sign_of_zero_is_kept() -> None:
    assert written(packed([[-0.0, 0.0]])) == b"[[-0.0,0.0]]"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([1.0] * 511, "segments[17].float: 511 numbers, expected 512"),
        ([1.0] * 513, "segments[17].float: 513 numbers, expected 512"),
        ([], "segments[17].float: no numbers"),
        (None, "segments[17].float: no numbers"),
        ("a" * 512, "segments[17].float: no numbers"),
        ({"0": 1.0}, "segments[17].float: no numbers"),
        (1.0, "segments[17].float: no numbers"),
        ([1.0] * 99 + [None] + [1.0] * 412, "segments[17].float[99]: NoneType instead of a number"),
        ([1.0] * 511 + ["1.0"], "segments[17].float[511]: str instead of a number"),
        ([[1.0]] * 512, "segments[17].float[0]: list instead of a number"),
        ([1.0, {}] * 256, "segments[17].float[1]: dict instead of a number"),
        ([1.0, True] * 256, "segments[17].float[1]: bool instead of a number"),
        ([1.0, False] * 256, "segments[17].float[1]: bool instead of a number"),
        ([2**53 + 1] * 512, "segments[17].float[0]: an integer that no floating-point number equals"),
        ([1, 10**400] * 256, "segments[17].float[1]: an integer that no floating-point number equals"),
    ],
)
def test_a_wrong_vector_is_refused_by_its_place(wrong: Any, message: str) -> None:
    rows: list[Any] = [[0.5] * 512 for _ in range(30)]
    rows[17] = wrong
    with pytest.raises(VectorError) as caught:
        packed(rows)
    assert str(caught.value) == message


def test_the_first_vector_may_be_the_wrong_one() -> None:
    with pytest.raises(VectorError, match=r"^segments\[0\]\.float: no numbers$"):
        packed([[], [1.0]])


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused(number: float) -> None:
    with pytest.raises(VectorError, match="not finite"):
        packed([[1.0, number]])


def test_large_numbers_that_a_double_equals_are_kept() -> None:
    assert read_back(packed([[2**60, 2.0**70]])) == [[2**60, 2.0**70]]
