"""Revisions are measured: what was said of a bar when it was the newest, against what is said of it in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from candelabra.candles import REGIMES, Candles
from candelabra.evaluation.regimes import judge_regimes, labels_when_new
from candelabra.regimes.decoding import DecoderSettings
from candelabra.regimes.reading import RegimeReading
from candelabra.testing.segmenters import example_regime_market, example_segmenter

MARKET = example_regime_market(900)
CANDLES = MARKET.candles
SEGMENTER = example_segmenter({"1h": ("switching", DecoderSettings("markov")), "4h": ("switching", DecoderSettings("duration"))})


def undecided(candles: Candles) -> Mapping[str, RegimeReading]:
    """The newest bar is always bullish, until another comes."""
    told = SEGMENTER.regimes(candles)
    return {name: replace(one, code=np.append(np.ones(len(one) - 1, np.int16), np.int16(0))) for name, one in told.items()}


def test_filtered_labels_are_looked_at_and_never_change() -> None:
    whole = SEGMENTER.regimes(CANDLES)
    new = labels_when_new(SEGMENTER.regimes, CANDLES, whole, int(CANDLES.close_time[499]), int(CANDLES.close_time[-1]))
    for name, one in whole.items():
        looked = np.flatnonzero(new[name] >= 0)
        assert len(looked) == 24
        assert one.close_time[looked].min() > CANDLES.close_time[499]
        np.testing.assert_array_equal(new[name][looked], one.code[looked])
    nothing = labels_when_new(SEGMENTER.regimes, CANDLES, whole, int(CANDLES.close_time[-1]), int(CANDLES.close_time[-1]))
    assert all((codes == -1).all() for codes in nothing.values())


@pytest.mark.parametrize("smoothed", [False, True])
def test_what_is_taken_back_is_counted_and_named_where_it_may_not_be(smoothed: bool) -> None:
    whole = undecided(CANDLES)
    new = labels_when_new(undecided, CANDLES, whole, int(CANDLES.close_time[499]), int(CANDLES.close_time[-2]))["1h"]
    truth = np.where(np.arange(len(CANDLES)) >= 500, MARKET.regime, -1).astype(np.int16)
    learned = MARKET.regime[:500].astype(np.int16)
    shown = whole["1h"].code, whole["1h"].probabilities
    durations = SEGMENTER.inputs.switching["1h"].durations
    verdict = judge_regimes("1h", REGIMES, [CANDLES], [learned], [truth], [shown], durations, smoothed=smoothed, when_new=[new])
    assert verdict.revised == (24, 24)
    assert verdict.rows[0].mean("revisions") == 1.0
    assert any("filtered ones never may" in note for note in verdict.notes) != smoothed
