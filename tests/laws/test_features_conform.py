"""Every registered feature keeps the laws by the public check, and the check catches what breaks them."""

from __future__ import annotations

import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.features.bars import Array, Bars
from candelabra.features.catalog import describe
from candelabra.features.kind import Kind
from candelabra.testing import LawBroken, check_feature, example_candles

CALENDAR = {"close_hour", "close_weekday", "target_hour", "target_weekday", "window_hours", "window_week", "window_weekend", "gap"}
CALENDAR |= {"bars_since_gap"}
EVERY = [row["name"] for row in describe()]


@pytest.fixture(scope="module")
def market() -> Candles:
    return example_candles(bars=1500, seed=3)


@pytest.fixture(scope="module")
def fine() -> dict[str, Candles]:
    quarter = example_candles("5m", bars=1500 * 12, seed=4, gaps=False)
    return {"5m": quarter, "15m": example_candles("15m", bars=1500 * 4, seed=4)}


@pytest.mark.parametrize("spec", EVERY)
def test_every_registered_feature_keeps_the_laws(spec: str, market: Candles, fine: dict[str, Candles]) -> None:
    stale = {"lag"}  # a lag is old by its own name
    name = spec.split("(")[0].split(".")[0]
    check_feature(spec, candles=market, fine=fine, fresh=name not in CALENDAR | stale)


def _leaking(bars: Bars) -> Array:
    return np.append(bars.log_close[1:] - bars.log_close[:-1], 0.0)


def _stale(bars: Bars) -> Array:
    return np.concatenate([[np.nan, np.nan], (bars.log_close[1:] - bars.log_close[:-1])[:-1]])


def _endless(bars: Bars) -> Array:
    return np.cumsum(bars.returns)


def _infinite(bars: Bars) -> Array:
    with np.errstate(divide="ignore"):
        return np.log(bars.log_high - bars.log_low)


@pytest.mark.parametrize(
    ("function", "word"),
    [(_leaking, "moved when only bars after"), (_stale, "stale"), (_endless, "warm-up is too short"), (_infinite, "infinite")],
)
def test_a_feature_that_breaks_a_law_is_caught(function: object, word: str, market: Candles) -> None:
    kind = Kind("bad", function, "made to be caught", memory=2)  # type: ignore[arg-type]
    with pytest.raises(LawBroken, match=word):
        check_feature(kind, candles=market)
