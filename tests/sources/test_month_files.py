"""A month's file gives back every value to the bit, and proves itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from candelabra.errors import DataError
from candelabra.sources.bars import Bars, over
from candelabra.sources.month_files import decode, digest, encode, month_names, month_of, month_span

DECIMALS = st.tuples(st.integers(0, 10**15), st.integers(0, 12)).map(lambda p: p[0] / 10.0 ** p[1])
ANY = st.floats(min_value=0, allow_infinity=False, allow_nan=False)


def bars(columns: np.ndarray) -> Bars:
    return Bars(60_000 * np.arange(columns.shape[1], dtype=np.int64), columns)


@given(st.integers(1, 40).flatmap(lambda n: arrays(np.float64, (5, n), elements=DECIMALS | ANY)))
@example(np.full((5, 3), -0.0))
@example(np.full((5, 3), 5e-324))
@example(np.full((5, 3), 2.0**53))
@example(np.full((5, 3), 0.1 + 0.2))
def test_every_value_comes_back_to_the_bit(columns: np.ndarray) -> None:
    given_ = bars(columns)
    data, entry = encode(given_, {"symbol": "X"})
    got, facts = decode(bytes(data), Path("x.parquet"))
    assert got.open_time.tobytes() == given_.open_time.tobytes()
    assert got.values.tobytes() == given_.values.tobytes()
    assert facts == {"symbol": "X", "digest": digest(given_)}
    assert (entry.rows, entry.first_ms, entry.size) == (len(given_), 0, len(data))


def test_prices_of_exchanges_are_kept_as_decimals_and_others_as_floats() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = 500
    columns = np.stack([np.round(np.linspace(100, 200, n), 2)] * 4 + [np.random.default_rng(1).random(n)])
    data, _ = encode(bars(columns), {})
    types = pq.read_schema(pa.BufferReader(data)).types
    assert [str(t) for t in types] == ["timestamp[ms, tz=UTC]", *["decimal128(18, 2)"] * 4, "double"]


@given(st.integers(0, 30_000), st.integers(0, 30_000))
def test_a_part_is_read_without_the_rest(a: int, b: int) -> None:
    whole = bars(np.tile(np.arange(1.0, 30_001.0), (5, 1)))
    start, end = sorted((a * 60_000 - 1, b * 60_000))
    got = decode(bytes(_encoded(whole)), Path("x.parquet"), start, end)[0]
    assert got.open_time.tolist() == [t for t in whole.open_time.tolist() if start <= t < end]


_made: dict[int, memoryview] = {}


def _encoded(whole: Bars) -> memoryview:
    if len(whole) not in _made:
        _made[len(whole)] = encode(whole, {})[0]
    return _made[len(whole)]


def test_what_is_no_month_file_is_refused_with_its_name() -> None:
    for data in (b"", b"PAR1", b"x" * 1000):
        with pytest.raises(DataError, match=r"here\.parquet is damaged"):
            decode(data, Path("here.parquet"))


def test_months_are_calendar_months_of_utc() -> None:
    edge = month_span("2020-02")
    assert month_names(month_of(np.array([edge[0] - 1, edge[0], edge[1] - 1, edge[1]]))) == ["2020-01", "2020-02", "2020-02", "2020-03"]
    assert month_names(month_of(np.array([-1]))) == ["1969-12"]
    for wrong in ("2020-13", "2020", "x"):
        with pytest.raises(ValueError, match=r".*"):
            month_span(wrong)


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_newer_rows_win_over_older_ones(newer: set[int], older: set[int]) -> None:
    def rows(times: set[int], value: float) -> Bars:
        return Bars(np.array(sorted(times), np.int64), np.full((5, len(times)), value))

    got = over(rows(newer, 2.0), rows(older, 1.0))
    assert dict(zip(got.open_time.tolist(), got.values[0].tolist(), strict=True)) == {t: 2.0 if t in newer else 1.0 for t in newer | older}
    assert (np.diff(got.open_time) > 0).all()


@given(st.integers(0, 9), st.integers(0, 383))
def test_any_bit_of_a_row_changes_its_check(row: int, bit: int) -> None:
    whole = bars(np.arange(1.0, 51.0).reshape(5, 10))
    before = whole.checks()
    words = np.concatenate([whole.open_time[None].view(np.uint64), whole.values.view(np.uint64)]).copy()
    words[bit // 64, row] ^= np.uint64(1) << np.uint64(bit % 64)
    after = Bars(words[0].view(np.int64), words[1:].view(np.float64)).checks()
    assert after[row] != before[row]
    assert (np.delete(after, row) == np.delete(before, row)).all()
