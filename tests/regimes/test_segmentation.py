"""A segmentation is checked where it is made, and says the same as its bars."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import simulate
from candelabra.candles.hindsight import refuse_hindsight
from candelabra.errors import DataError, UsageError
from candelabra.regimes.segmentation import REGIME_LABELS, UNLABELLED, Segmentation, runs

HOUR = 3_600_000
CANDLES = simulate(bars=400, seed=3).candles


@given(st.lists(st.integers(-1, 3), min_size=400, max_size=400))
def test_bars_to_segments_and_back(code: list[int]) -> None:
    made = Segmentation.of_bars(CANDLES, REGIME_LABELS, code)
    assert made.on(CANDLES).code.tolist() == code
    assert (made.known_at == made.end).all()


@given(st.lists(st.integers(-1, 1), min_size=400, max_size=400), st.integers(0, 50))
def test_a_segment_is_known_when_its_last_bar_is(code: list[int], lag: int) -> None:
    known = CANDLES.close_time + lag * HOUR
    made = Segmentation.of_bars(CANDLES, REGIME_LABELS, code, known)
    assert (made.known_at == made.end + lag * HOUR).all()
    labels = made.on(CANDLES)
    assert (labels.known_at[labels.code == UNLABELLED] == np.iinfo(np.int64).max).all()
    assert (labels.segment >= 0).tolist() == (labels.code >= 0).tolist()


def test_finer_bars_have_the_label_of_the_segment_they_open_in() -> None:
    day = 24 * HOUR
    start = int(CANDLES.open_time[0])
    made = Segmentation.of("SIM/USDT", "1d", ("a", "b"), [start, start + 2 * day], [start + day, start + 3 * day], [0, 1], [0.5, 1])
    labels = made.on(CANDLES)
    assert labels.code[:72].tolist() == [0] * 24 + [-1] * 24 + [1] * 24
    assert labels.confidence[:72].tolist() == [0.5] * 24 + [0.0] * 24 + [1.0] * 24
    assert made.bars.tolist() == [1, 1]
    assert made.names == ("a", "b")
    assert made.between(end_ms=start + day).names == ("a",)


@pytest.mark.parametrize(
    ("start", "end", "code", "confidence", "words"),
    [
        ([HOUR], [HOUR], [0], None, "ends before it begins"),
        ([1], [HOUR], [0], None, "not on the grid"),
        ([0], [HOUR], [2], None, "outside the vocabulary"),
        ([0], [HOUR], [0], [1.5], "confidence outside"),
        ([0], [HOUR], [0], [float("nan")], "confidence outside"),
        ([0, 0], [2 * HOUR, HOUR], [0, 1], None, "overlaps the one before it"),
        ([0, HOUR], [2 * HOUR], [0, 1], None, "different lengths"),
    ],
)
def test_what_cannot_be_is_refused_with_the_segment(
    start: list[int], end: list[int], code: list[int], confidence: list[float] | None, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        Segmentation.of("X/USDT", "1h", ("a", "b"), start, end, code, confidence)


def test_labels_are_hindsight_and_columns_read_only() -> None:
    made = Segmentation.of("X/USDT", "1h", ("a",), [0], [HOUR], [0])
    with pytest.raises(UsageError, match="knows the future"):
        refuse_hindsight("a rule", made.on(CANDLES))
    with pytest.raises(ValueError, match="read-only"):
        made.start[0] = 5
    assert [len(column) for column in runs(np.zeros(0, np.int16))] == [0, 0, 0]
    assert len(Segmentation.of("X/USDT", "1h", ("a",), [], [], []).on(CANDLES)) == 400
