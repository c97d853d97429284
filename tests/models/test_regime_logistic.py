"""The logistic regime model: reads nothing later, learns what a chart reader can see, holds back when there is little to learn from."""

from __future__ import annotations

import numpy as np
import pytest

from candelabra.candles.regime_markets import RegimeMarket, regime_markets
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segments import macro_f1
from candelabra.models.regime_baselines import TrailingRule, fit_majority
from candelabra.models.regime_logistic import LogisticSettings, RegimeLogistic, fit_regime_logistic
from candelabra.regimes.segmentation import REGIME_LABELS
from candelabra.testing.markets import perturbed_after

LEARN = 4_000


@pytest.fixture(scope="module")
def markets() -> tuple[RegimeMarket, ...]:
    return regime_markets(2, 6_000, seed=40)


@pytest.fixture(scope="module")
def model(markets: tuple[RegimeMarket, ...]) -> RegimeLogistic:
    return fit_regime_logistic([m.candles.rows(slice(0, LEARN)) for m in markets], [m.regime[:LEARN] for m in markets], 4)


@pytest.mark.parametrize("cut", [30, 300, 2_500])
def test_what_comes_later_changes_nothing_said_before(model: RegimeLogistic, markets: tuple[RegimeMarket, ...], cut: int) -> None:
    candles = markets[0].candles
    told = model.probabilities(candles)
    changed = model.probabilities(perturbed_after(candles, int(candles.close_time[cut]), seed=1))
    np.testing.assert_array_equal(told[: cut + 1], changed[: cut + 1])
    assert not np.array_equal(told[cut + 1], changed[cut + 1])  # and what comes is heard at once
    np.testing.assert_allclose(model.probabilities(candles.rows(slice(0, cut + 1))), told[: cut + 1], atol=1e-12)


def test_it_learns_a_trailing_rule(markets: tuple[RegimeMarket, ...]) -> None:
    rule = TrailingRule(24, 1.0, 1.5, 4_320, (0, 1, 2, 3), np.eye(4))
    candles = [m.candles for m in markets]
    codes = [rule.answer(c).code for c in candles]
    settings = LogisticSettings(ridge=1e-4)
    made = fit_regime_logistic([c.rows(slice(0, LEARN)) for c in candles], [code[:LEARN] for code in codes], 4, settings)
    told = made.answer(candles[0]).code[LEARN:]
    assert macro_f1(judged_bars(codes[0][LEARN:], told), 4) > 0.85


def test_it_is_better_than_the_commonest_label(model: RegimeLogistic, markets: tuple[RegimeMarket, ...]) -> None:
    commonest = fit_majority([m.candles.rows(slice(0, LEARN)) for m in markets], [m.regime[:LEARN] for m in markets], 4)
    for m in markets:
        ours, theirs = (judged_bars(m.regime[LEARN:], one.answer(m.candles).code[LEARN:]) for one in (model, commonest))
        assert macro_f1(ours, 4) > macro_f1(theirs, 4) + 0.2


def test_the_bars_of_a_market_that_is_louder_count_the_same(model: RegimeLogistic, markets: tuple[RegimeMarket, ...]) -> None:
    c = markets[0].candles
    again = type(c).of(c.symbol, c.timeframe, c.open_time, *(v**2 if k < 4 else v for k, v in enumerate(c.values())))
    np.testing.assert_allclose(model.probabilities(again), model.probabilities(c), atol=1e-9)  # squared prices: returns twice as large


def test_fewer_segments_are_believed_less(markets: tuple[RegimeMarket, ...]) -> None:
    candles, code = [markets[0].candles.rows(slice(0, LEARN))], [markets[0].regime[:LEARN].astype(np.int16)]
    few = fit_regime_logistic(candles, code, 4, LogisticSettings(segments=1_000))
    usual = fit_regime_logistic(candles, code, 4, LogisticSettings(segments=1))
    assert np.abs(few.weights[:-1]).sum() < 0.5 * np.abs(usual.weights[:-1]).sum()


def test_of_few_segments_falls_are_learned_from_rises(markets: tuple[RegimeMarket, ...]) -> None:
    c, code = markets[0].candles.rows(slice(0, LEARN)), markets[0].regime[:LEARN].astype(np.int16)
    turned = type(c).of(c.symbol, c.timeframe, c.open_time, 1 / c.open, 1 / c.low, 1 / c.high, 1 / c.close, c.volume)
    always = LogisticSettings(mirrored=10_000)
    made = fit_regime_logistic([c], [code], 4, always, opposite=(0, 1))
    np.testing.assert_allclose(made.probabilities(turned)[:, [1, 0, 2, 3]], made.probabilities(c), atol=1e-3)
    never = (
        fit_regime_logistic([c], [code], 4, LogisticSettings(mirrored=0), opposite=(0, 1)),
        fit_regime_logistic([c], [code], 4, always),
    )
    for one in never:
        assert np.abs(one.probabilities(turned)[:, [1, 0, 2, 3]] - one.probabilities(c)).max() > 0.05


def test_unlabelled_bars_teach_nothing(markets: tuple[RegimeMarket, ...]) -> None:
    c, code = markets[0].candles, markets[0].regime.astype(np.int16)
    hidden = np.where(np.arange(len(code)) < LEARN, code, -1)
    told = [fit_regime_logistic([x], [y], 4) for x, y in ((c, hidden), (c.rows(slice(0, LEARN)), code[:LEARN]))]
    np.testing.assert_array_equal(told[0].weights, told[1].weights)


def test_what_was_written_is_read(model: RegimeLogistic, markets: tuple[RegimeMarket, ...]) -> None:
    again = RegimeLogistic.from_dict(model.to_dict())
    np.testing.assert_array_equal(again.probabilities(markets[1].candles), model.probabilities(markets[1].candles))
    with pytest.raises(BundleError, match="not a logistic regime model"):
        RegimeLogistic.from_dict(model.to_dict() | {"windows": [6, 12]})


def test_what_cannot_be_learned_from_is_refused(markets: tuple[RegimeMarket, ...]) -> None:
    candles = markets[0].candles.rows(slice(0, 500))
    with pytest.raises(DataError, match="one label alone"):
        fit_regime_logistic([candles], [np.zeros(500, np.int16)], 4)
    with pytest.raises(DataError, match="not one bar"):
        fit_regime_logistic([candles], [np.full(500, -1)], len(REGIME_LABELS))
    with pytest.raises(UsageError, match="windows"):
        LogisticSettings(windows=(1,))
    with pytest.raises(UsageError, match="ridge"):
        LogisticSettings(ridge=-1.0)
