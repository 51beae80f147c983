"""JSON out of Arrow against orjson on the same values as Python objects: the same bytes."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.json_texts import json_texts, row_texts

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
POINT = pa.struct([("x", pa.float64()), ("name", pa.string())])
THING = pa.struct(
    [("maybe", pa.int64()), ("x", pa.float64()), ("points", pa.list_(POINT)), ("size", pa.list_(pa.int64()))]
)
POINTS = st.tuples(NUMBERS, TEXTS).map(lambda point: {"x": point[0], "name": point[1]})
KEYS = [field.name for field in THING]


def written(values: list[Any], kind: pa.DataType) -> list[bytes | None]:
    return [None if text is None else text.encode() for text in json_texts(pa.array(values, kind)).to_pylist()]


@settings(deadline=None)
@given(st.lists(NUMBERS | st.none()))
def test_floats(values: list[float | None]) -> None:
    assert written(values, pa.float64()) == [None if value is None else orjson.dumps(value) for value in values]


@settings(deadline=None)
@given(st.lists(WHOLE))
def test_whole_numbers(values: list[int]) -> None:
    assert written(values, pa.int64()) == [orjson.dumps(value) for value in values]


@settings(deadline=None)
@given(st.lists(TEXTS | st.none()))
def test_texts_of_every_alphabet_with_quotes_and_control_characters(values: list[str | None]) -> None:
    assert written(values, pa.string()) == [None if value is None else orjson.dumps(value) for value in values]


@settings(deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "maybe": WHOLE | st.none(),
                "x": NUMBERS,
                "points": st.lists(POINTS, max_size=3) | st.none(),
                "size": st.lists(WHOLE, max_size=3),
            }
        )
        | st.none()
    )
)
def test_structs_leave_out_what_is_null(values: list[dict[str, Any] | None]) -> None:
    said = [value and {key: value[key] for key in KEYS if value[key] is not None} for value in values]
    assert written(values, THING) == [None if value is None else orjson.dumps(value) for value in said]
    whole = pa.array(values, THING)
    for start in range(0, len(values), 2):
        assert json_texts(whole.slice(start, 3)).equals(json_texts(whole).slice(start, 3))


def test_a_null_inside_a_list_is_said() -> None:
    assert written([[1.5, None], [], None], pa.list_(pa.float64())) == [b"[1.5,null]", b"[]", None]


def test_every_float_of_a_long_array_is_what_orjson_writes() -> None:
    draw = random.Random(3)
    values = [draw.uniform(-1, 1) * 10 ** draw.randint(-320, 308) for _ in range(20_000)] + [0.0, -0.0, 1e16, 5e-324]
    assert written(values, pa.float64()) == [orjson.dumps(value) for value in values]


def test_rows_without_a_field_that_is_always_there_cannot_be_written() -> None:
    rows = pa.RecordBatch.from_pylist([{"a": 1.0, "b": None}, {"a": None, "b": 2.0}])
    with pytest.raises(ValueError, match="a field without nulls among a, b"):
        row_texts(rows)
    assert row_texts(rows.slice(0, 0)) == []
    assert row_texts(rows.slice(1, 1)) == [b'{"b":2.0}']


def test_a_type_that_json_does_not_have_is_refused() -> None:
    with pytest.raises(TypeError, match="timestamp"):
        json_texts(pa.array([0], pa.timestamp("us")))
