"""The switching model finds what made a market, reads nothing later, and streams to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from candelabra.candles import REGIMES, Candles
from candelabra.candles.regime_markets import regime_market
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.switching import SwitchingModel, SwitchingSettings, fit_switching
from candelabra.regimes.decoding import Decoder, DecoderSettings

MARKETS = tuple(regime_market(6_000, seed) for seed in (30, 31))
TRAIN = 5_000
QUICK = SwitchingSettings(spans=(24,), iterations=25)


@pytest.fixture(scope="module")
def model() -> SwitchingModel:
    cut = [m.candles.rows(slice(0, TRAIN)) for m in MARKETS]
    return fit_switching(cut, [m.regime[:TRAIN].astype(np.int16) for m in MARKETS], REGIMES, QUICK)


def shown(model: SwitchingModel, candles: Candles) -> NDArray[np.int16]:
    return Decoder(DecoderSettings("duration"), model.labels, model.durations).decode(model.probabilities(candles))


def test_what_made_the_market_is_found_again(model: SwitchingModel) -> None:
    p = MARKETS[0].parameters
    own = model.own[MARKETS[0].candles.symbol]
    ratio = own.level / own.level[0]
    np.testing.assert_allclose(ratio, np.asarray(p.level) / p.level[0], rtol=0.15)
    assert own.drift[0] > 0.05
    assert own.drift[1] < -0.05
    assert own.pull[2] == max(own.pull)
    assert 0.02 < own.shock < 0.2
    assert 3 < own.degrees < 12


def test_regimes_of_later_bars_are_known(model: SwitchingModel) -> None:
    for market in MARKETS:
        said = shown(model, market.candles)[TRAIN:]
        assert (said == market.regime[TRAIN:]).mean() > 0.75


def test_a_symbol_never_seen_is_read_in_its_own_size(model: SwitchingModel) -> None:
    other = regime_market(6_000, 40)
    assert (shown(model, other.candles)[1_000:] == other.regime[1_000:]).mean() > 0.7
    big = other.candles
    louder = Candles.of("LOUD/USDT", "1h", big.open_time, *(np.exp(1.5 * np.log(v)) for v in big.values()[:4]), big.volume)
    quiet, loud = model.probabilities(big), model.probabilities(louder)
    assert np.mean(quiet[1_000:].argmax(1) == loud[1_000:].argmax(1)) > 0.97


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 299), st.integers(0, 1_000), st.booleans())
def test_nothing_later_moves_an_answer_and_a_stream_is_the_same_to_the_bit(cut: int, seed: int, seen: bool) -> None:
    model = _CACHE.setdefault("m", fit_switching([m.candles.rows(slice(0, 2_000)) for m in MARKETS],
                              [m.regime[:2_000].astype(np.int16) for m in MARKETS], REGIMES, QUICK))  # fmt: skip
    candles = MARKETS[0].candles.rows(slice(2_000, 2_300)) if seen else regime_market(300, 77).candles
    whole = model.probabilities(candles)
    later = regime_market(300, seed + 100).candles
    mixed = Candles.of(candles.symbol, "1h", candles.open_time,
                       *(np.concatenate([a[:cut], b[cut:]]) for a, b in zip(candles.values(), later.values(), strict=True)))  # fmt: skip
    np.testing.assert_array_equal(model.probabilities(mixed)[:cut], whole[:cut])
    assert not np.array_equal(model.probabilities(mixed)[cut:], whole[cut:])
    stream = model.stream(candles.symbol)
    parts = np.array_split(np.arange(len(candles)), 1 + cut % 7)
    pushed = np.concatenate([stream.push(candles.rows(part)) for part in parts])
    np.testing.assert_array_equal(pushed, whole)


_CACHE: dict[str, SwitchingModel] = {}


def test_gaps_count_the_bars_they_took(model: SwitchingModel) -> None:
    candles = MARKETS[1].candles
    keep = np.ones(len(candles), bool)
    keep[3_000:3_020] = False
    out = model.probabilities(candles.rows(keep))
    assert np.isfinite(out).all()
    stream = model.stream(candles.symbol)
    stream.push(candles.rows(slice(0, 3_000)))
    np.testing.assert_array_equal(stream.push(candles.rows(slice(3_020, 3_100))), out[3_000:3_080])
    with pytest.raises(DataError, match="does not come after the last"):
        stream.push(candles.rows(slice(3_050, 3_060)))


def test_json_gives_the_same_model(model: SwitchingModel) -> None:
    again = SwitchingModel.from_dict(json.loads(json.dumps(model.to_dict())))
    np.testing.assert_array_equal(again.probabilities(MARKETS[0].candles), model.probabilities(MARKETS[0].candles))
    with pytest.raises(BundleError, match="not a switching model"):
        SwitchingModel.from_dict({"labels": ["a"]})


def test_unlabelled_bars_are_left_out_and_what_cannot_be_learned_is_said() -> None:
    candles, code = MARKETS[0].candles.rows(slice(0, 3_000)), MARKETS[0].regime[:3_000].astype(np.int16)
    half = code.copy()
    half[::2] = -1
    fit_switching([candles], [half], REGIMES, SwitchingSettings(spans=(24,), iterations=3))
    with pytest.raises(DataError, match="has none of volatile"):
        fit_switching([candles], [np.where(code == 3, -1, code).astype(np.int16)], REGIMES, QUICK)
    with pytest.raises(DataError, match="give one a bar"):
        fit_switching([candles], [code[:-1]], REGIMES, QUICK)
    with pytest.raises(UsageError, match="iterations"):
        SwitchingSettings(iterations=0)


def test_a_running_scale_can_be_learned_with(model: SwitchingModel) -> None:
    cut = [m.candles.rows(slice(0, TRAIN)) for m in MARKETS]
    running = fit_switching(
        cut, [m.regime[:TRAIN].astype(np.int16) for m in MARKETS], REGIMES, SwitchingSettings(spans=(24,), iterations=25, half_life=2_000)
    )
    said = shown(running, MARKETS[0].candles)[TRAIN:]
    assert (said == MARKETS[0].regime[TRAIN:]).mean() > 0.6
