"""What is suggested for labelling: contested stretches first, whole, apart from each other, and handed back as a learning set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles.hindsight import Hindsight
from candelabra.errors import DataError, UsageError
from candelabra.regimes.learning_files import read_learning_set
from candelabra.regimes.reading import RegimeReading, SmoothedReading
from candelabra.regimes.segmentation import Segmentation
from candelabra.regimes.stretches import spread_choice, whole_stretches
from candelabra.regimes.suggest import SuggestSettings, suggest

from .test_reading import HOUR, LABELS, of_codes, reading, vars_of

QUICK = SuggestSettings(least_bars=6, most_bars=40)


def smoothed(one: RegimeReading, code: list[int]) -> SmoothedReading:
    last = np.full(len(one), one.close_time[-1])
    return SmoothedReading(**{**vars_of(one), "code": np.array(code, np.int16), "mode": "smoothed", "known_at": last})


def test_a_stretch_on_which_hindsight_differs_comes_first_with_its_label() -> None:
    shown, truth = [0] * 60, [0] * 30 + [1] * 12 + [0] * 18
    filtered = of_codes(shown)
    found = suggest(filtered, smoothed(filtered, truth), settings=QUICK, count=2)
    assert (found.start[0], found.end[0], found.label[0]) == (30 * HOUR, 42 * HOUR, "bearish")
    assert found.disagreement[0] == 1
    assert "hindsight differs from what was shown on 100% of bars" in found.reason[0]
    assert isinstance(found, Hindsight)
    assert found.known_at[0] == 60 * HOUR


def test_doubt_conflict_and_what_is_labelled_already() -> None:
    code = [0] * 48
    sure = of_codes(code)
    p = sure.probabilities.copy()
    p[8:16] = [0.42, 0.4, 0.18]
    doubtful = replace(sure, probabilities=p)
    narrow = SuggestSettings(least_bars=8, most_bars=8)
    first = suggest(doubtful, settings=narrow, count=1)
    assert (first.start[0], first.end[0]) == (8 * HOUR, 16 * HOUR)
    assert first.reason[0] == "in doubt: bullish 0.42, bearish 0.40"
    coarse = of_codes([0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0], "4h")
    against = suggest(sure, others=[coarse], settings=replace(narrow, margin=0.0), count=1)
    assert (against.start[0], against.conflict[0]) == (32 * HOUR, 7 / 8)  # held at the closes from 32 h to 39 h
    assert "against 4h on 88% of bars" in against.reason[0]
    known = Segmentation.of("BTC/USDT", "1h", ("bullish",), [0], [16 * HOUR], [0])
    assert suggest(doubtful, known=known, settings=narrow, count=9).start.min() == 16 * HOUR


def test_the_table_is_edited_and_handed_back(tmp_path: Path) -> None:
    filtered, _ = reading("duration")
    back, _ = reading("semi_markov")
    found = suggest(filtered, back, settings=QUICK, count=8)
    assert 1 < len(found) <= 8
    order = np.argsort(found.start)
    assert (found.start[order][1:] >= found.end[order][:-1]).all()
    lengths = (found.end - found.start) // HOUR
    assert (lengths >= QUICK.least_bars).all()
    assert (lengths <= QUICK.most_bars).all()
    assert ((found.score >= 0) & (found.score <= 1)).all()
    for ending in ("csv", "parquet", "jsonl"):
        again = read_learning_set(found.write(tmp_path / f"suggest.{ending}"))
        own = again.consensus("BTC/USDT", "1h")
        assert own.names == tuple(found.label[k] for k in order)
        assert own.note == tuple(found.reason[k] for k in order)
        np.testing.assert_allclose(own.confidence, found.confidence[order], atol=1e-5)
        np.testing.assert_array_equal(own.known_at, own.end)


def test_what_cannot_be_suggested_is_refused() -> None:
    filtered = of_codes([0] * 30)
    with pytest.raises(UsageError, match="SmoothedReading stands for the filtered"):
        suggest(smoothed(filtered, [0] * 30))
    with pytest.raises(DataError, match="of other bars"):
        suggest(filtered, smoothed(of_codes([0] * 20), [0] * 20))
    with pytest.raises(UsageError, match="of other labels"):
        suggest(filtered, smoothed(replace(filtered, labels=(*LABELS[:2], "x")), [0] * 30))
    with pytest.raises(UsageError, match="0 stretches"):
        suggest(filtered, count=0)
    with pytest.raises(UsageError, match="above 0"):
        SuggestSettings(disagreement=0, margin=0, conflict=0)
    with pytest.raises(UsageError, match="5 to 4 bars"):
        SuggestSettings(least_bars=5, most_bars=4)
    assert len(suggest(of_codes([]))) == len(suggest(of_codes([-1] * 40))) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, 2), max_size=80), st.integers(1, 9), st.integers(0, 30))
def test_stretches_are_whole_apart_and_of_lawful_length(code: list[int], least: int, more: int) -> None:
    codes = np.array(code, np.int16)
    most = 2 * least + more
    first, stop = whole_stretches(codes, codes >= 0, least, most)
    assert (stop - first >= min(least, most // 2)).all()
    assert (stop - first <= most).all()
    assert (first[1:] >= stop[:-1]).all()
    assert all((codes[a:b] >= 0).all() for a, b in zip(first, stop, strict=True))


def test_a_choice_is_spread_over_time() -> None:
    start = np.arange(10) * 10
    score = np.array([1, 0.99, 0.98, 0.1, 0.1, 0.1, 0.1, 0.1, 0.8, 0.1])
    assert spread_choice(score, start, start + 10, 3).tolist() == [0, 8, 2]
    assert spread_choice(np.zeros(3), start[:3], start[:3] + 10, 3).tolist() == []
