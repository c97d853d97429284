"""Small simulated markets to check things on, and ways to tamper with candles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.simulate import simulate
from candelabra.evaluation.worlds import perturbed_after, shocked
from candelabra.models.base import FitData
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.splits import Split, chronological
from candelabra.windows.targets import make_targets

__all__ = ["example_candles", "example_data", "example_recipe", "perturbed_after", "shocked"]


def example_candles(timeframe: str = "1h", bars: int = 2_400, seed: int = 0, *, symbol: str = "SIM/USDT", gaps: bool = True) -> Candles:
    """A simulated market; with ``gaps`` a few single bars and one stretch of six are absent."""
    candles = simulate(symbol, timeframe, bars=bars, seed=seed).candles
    if not gaps:
        return candles
    keep = np.ones(bars, bool)
    keep[[bars // 9, bars // 5, bars // 5 + 3]] = False
    keep[bars // 2 : bars // 2 + 6] = False
    return candles.rows(keep)


def example_recipe(*, coarse: tuple[str, ...] = ("4h", "1d"), fine: tuple[str, ...] = ("15m",)) -> Recipe:
    """Hourly decisions with coarser and finer arms and features of short memory, so that a few hundred bars teach something."""
    return Recipe(
        "1h",
        coarse=coarse,
        fine=fine,
        horizons=("1h", "6h"),
        volatility_timeframe=fine[0] if fine else None,
        base_features=("return(1)", "log_rv(6)", "range", "target_hour"),
        coarse_features=("return(1)", "range"),
        fine_features=("return(1)", "range"),
    )


def example_data(candles: Sequence[Candles], recipe: Recipe, seed: int = 0) -> tuple[FitData, Split]:
    """What a model learns from: series, targets and the default split of each symbol's ``candles``."""
    series = tuple(build_series(one, recipe) for one in candles)
    split = chronological([s.close_time for s in series], purge_ms=recipe.purge_ms)
    return FitData(series, tuple(make_targets(s, recipe) for s in series), split.train, split.validation, seed), split
