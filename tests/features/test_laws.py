"""The laws for every entry of the catalog: point in time, fresh, and a tail that recomputes to the full history."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.features.catalog import compute, compute_tail, describe, parse
from candelabra.features.sets import SETS
from candelabra.features.talib_functions import FUNCTIONS

HOUSE = [row["name"] for row in describe()]
SHORT = ["log_rv(2)", "log_yang_zhang(2)", "return(7)", "lag(rsi(5),3)", "difference(log_rv(6),6)", "macd(3,6,4)", "rel_fine_log_rv(5m,6)"]
THROUGH_TALIB = [f"talib.{name}" for name in FUNCTIONS] + [
    "talib.CDLENGULFING",
    "talib.CDLDOJI",
    "talib.APO(5,10,1)",
    "talib.STOCH(9,3,1,3,1)",
]
EVERY = [*HOUSE, *SHORT, *THROUGH_TALIB]


def _equal(a: NDArray[np.float32], b: NDArray[np.float32], sd: NDArray[np.float64]) -> None:
    """Law 3's measure."""
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    error = np.abs(a.astype(float) - b) / np.maximum(np.maximum(np.abs(a), sd), 1e-12)
    assert np.nanmax(error, initial=0.0) <= 1e-5


def _shaken(candles: Candles, after: int, seed: int) -> Candles:
    """The same candles up to row ``after``, everything later changed: prices, volume and which bars are there."""
    random = np.random.default_rng(seed)
    later = np.arange(len(candles)) > after
    factor = np.where(later, np.exp(random.normal(0, 0.05, len(candles)) + 0.3), 1.0)
    volume = candles.volume * np.where(later, random.uniform(0, 9, len(candles)), 1.0)
    keep = ~later | (random.uniform(size=len(candles)) > 0.2)
    values = [v * factor for v in candles.values()[:4]]
    return Candles.of("X/Y", candles.timeframe, candles.open_time[keep], *(v[keep] for v in values), volume[keep])


@pytest.mark.parametrize("spec", EVERY)
def test_nothing_at_or_before_a_bar_moves_when_the_future_does(
    spec: str, rough_market: Candles, make_finer: Callable[..., Candles]
) -> None:
    candles = rough_market.rows(slice(2300, 3300))  # holds a still stretch and a gap
    finer = make_finer(candles)
    for after in (420, 700):
        before = compute(candles, [spec], fine={"5m": finer}).values[: after + 1]
        cut = int(np.searchsorted(finer.close_time, candles.close_time[after], "right")) - 1
        other = compute(_shaken(candles, after, after), [spec], fine={"5m": _shaken(finer, cut, after)}).values[: after + 1]
        np.testing.assert_array_equal(before, other)


@pytest.mark.parametrize("spec", EVERY)
def test_recomputing_from_the_declared_tail_equals_the_full_history(
    spec: str, rough_market: Candles, make_finer: Callable[..., Candles]
) -> None:
    finer = make_finer(rough_market)
    feature = parse(spec)
    full = compute(rough_market, [feature], fine={"5m": finer})
    sd = np.nanstd(full.values.astype(float), axis=0)
    n = len(rough_market)
    rows = {
        n - 1,
        *range(min(full.longest_warm_up + 1, n - 1), n, 397),
        *range(n // 2 + 30, n // 2 + 60, 7),
        *range(int(n * 0.7), int(n * 0.7) + 60, 9),
    }
    for row in sorted(rows):
        tail = compute_tail(
            rough_market.rows(slice(0, row + 1)), [feature], fine={"5m": finer.between(None, int(rough_market.close_time[row]))}
        )
        assert len(tail) == 1
        _equal(full.values[row : row + 1], tail.values, sd)


@pytest.mark.parametrize("spec", EVERY)
def test_every_value_is_known_and_finite_after_the_warm_up(spec: str, market: Candles, make_finer: Callable[..., Candles]) -> None:
    table = compute(market, [spec], fine={"5m": make_finer(market)})
    for channel, warm_up in enumerate(table.warm_up):
        assert np.isfinite(table.values[warm_up:, channel]).all()
        assert warm_up < len(market)


@pytest.mark.parametrize("spec", EVERY)
def test_prices_that_never_move_give_finite_numbers(spec: str) -> None:
    n = 900
    still = np.full(n, 7.25)
    candles = Candles.of("X/Y", "1h", np.arange(n) * 3_600_000, still, still, still, still, np.zeros(n))
    fine = np.full(12 * n, 7.25)
    finer = Candles.of("X/Y", "5m", np.arange(12 * n) * 300_000, fine, fine, fine, fine, np.zeros(12 * n))
    values = compute(candles, [spec], fine={"5m": finer}).values
    assert not np.isinf(values).any()
    assert np.isfinite(values[200:]).all()


@pytest.mark.parametrize("spec", EVERY)
def test_the_unit_of_price_and_of_volume_does_not_matter(
    spec: str, make_market: Callable[..., Candles], make_finer: Callable[..., Candles]
) -> None:
    candles = make_market(1200, seed=3)
    finer = make_finer(candles)

    def in_other_units(c: Candles) -> Candles:
        return Candles.of(c.symbol, c.timeframe, c.open_time, *(v * 1024.0 for v in c.values()[:4]), c.volume * 64.0)

    a = compute(candles, [spec], fine={"5m": finer})
    b = compute(in_other_units(candles), [spec], fine={"5m": in_other_units(finer)})
    _equal(a.values, b.values, np.nanstd(a.values.astype(float), axis=0))


@pytest.mark.parametrize("name", [n for n in SETS if n != "bench16"])
def test_a_shock_to_the_newest_bar_moves_the_newest_row(name: str, market: Candles) -> None:
    open_, high, low, close, volume = (v.copy() for v in market.values())
    close[-1] *= 1.05
    high[-1] = max(high[-1], close[-1])
    shocked = Candles.of("X/Y", "1h", market.open_time, open_, high, low, close, volume)
    before, after = (compute_tail(c, SETS[name]).values[0] for c in (market, shocked))
    assert (before != after).sum() >= 3


def test_a_stream_of_bars_gives_the_batch(rough_market: Candles) -> None:
    specs = SETS["base"]
    full = compute(rough_market, specs)
    sd = np.nanstd(full.values.astype(float), axis=0)
    for row in range(3600, 3760, 3):  # over the long gap
        _equal(full.values[row : row + 1], compute_tail(rough_market.rows(slice(0, row + 1)), specs).values, sd)
