"""Choosing a rule: from a grid, on validation bars and nothing after them, with the number of tries written down."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.trading.account import Account
from candelabra.trading.backtest import Walk
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.performance import sharpe
from candelabra.trading.rules import Band, Flat, Rule, Side, Threshold, VolatilityTarget, new_rule, positions, told
from candelabra.trading.sweep import sweep

__all__ = ["Choice", "Tries", "choose", "default_grid", "spread", "try_all", "wide_grid"]

Floats = NDArray[np.float64]
_SIDES: Final[tuple[Side, ...]] = ("long", "both")
FEW: Final = 100
"""More rules than this are worth the sweep's own compilation."""
LEAST_TRADES: Final = 10
"""A rule that traded less often on validation has shown nothing that could be preferred."""


@dataclass(frozen=True)
class Choice:
    """The rule that did best on validation after costs, how many were tried there, and how it did (annualised Sharpe, growth)."""

    rule: Rule
    tried: int
    sharpe: float
    growth: float
    bars: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values; `Choice.of` reads them."""
        values = {"rule": told(self.rule), "tried": self.tried, "bars": self.bars}
        return values | {k: v if math.isfinite(v) else None for k, v in (("sharpe", self.sharpe), ("growth", self.growth))}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Choice:
        """A choice from plain values; BundleError for anything else."""
        try:
            rule = dict(values["rule"])
            sharpe_, growth = (math.nan if values[k] is None else float(values[k]) for k in ("sharpe", "growth"))
            return cls(new_rule(rule.pop("name"), rule), int(values["tried"]), sharpe_, growth, int(values["bars"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"this is not a chosen rule ({type(error).__name__}: {error}): seal the bundle again") from error


def default_grid(base: Timeframe, horizons: Sequence[Timeframe]) -> tuple[Rule, ...]:
    """Rules worth a try: thresholds and bands on the expected return of every horizon, long alone and both ways, and volatility targets."""
    rules: list[Rule] = [Flat()]
    for horizon in horizons:
        for side in _SIDES:
            for enter in (0.02, 0.05, 0.1, 0.2):
                rules.append(Threshold(horizon.name, "ratio", enter, 0.0, side))
            for factor in (0.25, 0.5, 1.0, 2.0):
                rules.append(Band(horizon.name, factor, side))
    for annual in (0.2, 0.4, 0.6):
        rules.append(VolatilityTarget(annual, horizons[-1].name))
    return tuple(rules)


def wide_grid(horizons: Sequence[Timeframe]) -> tuple[Rule, ...]:
    """A thousand thresholds or so: of every horizon, long alone and both ways, in and out at many levels of mean over volatility."""
    enters = np.geomspace(0.01, 0.5, -(-1000 // (len(horizons) * len(_SIDES) * 10)))
    leaves = np.linspace(-1.0, 0.8, 10)
    return tuple(
        Threshold(horizon.name, "ratio", float(enter), float(enter * leave), side)
        for horizon in horizons
        for side in _SIDES
        for enter in enters
        for leave in leaves
    )


@dataclass(frozen=True, eq=False)
class Tries:
    """Rules tried on the same bars, and what became of each: arrays ``(rules,)``; ``sharpe`` annualised, ``growth`` net of costs."""

    rules: tuple[Rule, ...]
    sharpe: Floats
    growth: Floats
    orders: NDArray[np.int64]
    trades: NDArray[np.int64]
    bars: int

    def ranked(self) -> NDArray[np.int64]:
        """The tries from the highest Sharpe ratio down; those that never traded come last."""
        return np.argsort(-np.where(self.orders > 0, self.sharpe, -np.inf), kind="stable")

    def best(self, least_trades: int) -> Choice:
        """The highest Sharpe ratio among those that earned something and traded often enough; else `Flat`."""
        often = np.maximum(self.trades, self.orders // 2) >= least_trades
        able = often & (self.growth > 0.0) & (self.sharpe > 0.0)
        if not able.any():
            return Choice(Flat(), len(self.rules), math.nan, 0.0, self.bars)
        k = int(np.argmax(np.where(able, self.sharpe, -np.inf)))
        return Choice(self.rules[k], len(self.rules), float(self.sharpe[k]), float(self.growth[k]), self.bars)


def choose(
    candles: Sequence[Candles],
    forecasts: Sequence[Forecasts],
    rows: Sequence[NDArray[np.int64]],
    account: Account,
    *,
    rules: Sequence[Rule] | None = None,
    least_trades: int = LEAST_TRADES,
) -> Choice:
    """The rule with the highest Sharpe ratio after costs over validation; `Flat` when none of them earned anything.

    ``rows[i]``: the validation bars of symbol *i*; ``forecasts[i]``: made at those bars; see `try_all`. ``least_trades``: fewer show
    nothing (a rule that is always in, such as a volatility target, counts its orders).
    """
    return try_all(candles, forecasts, rows, account, rules=rules).best(least_trades)


def try_all(
    candles: Sequence[Candles],
    forecasts: Sequence[Forecasts],
    rows: Sequence[NDArray[np.int64]],
    account: Account,
    *,
    rules: Sequence[Rule] | None = None,
) -> Tries:
    """Every rule (by default `default_grid`) on some bars, through an account each.

    ``candles``: one series a symbol; ``rows[i]``: its bars, int64, rising; ``forecasts[i]``: made at those bars. Nothing else is read:
    candles are cut at the last of these closes. Raises DataError when there are no bars.
    """
    kept = [i for i, r in enumerate(rows) if len(r)]
    if not kept:
        raise DataError("a rule is chosen on validation bars, and there are none: give candles that reach back to the validation range")
    cut = [candles[i].rows(slice(int(rows[i][0]), int(rows[i][-1]) + 1)) for i in kept]
    seen = [spread(forecasts[i], rows[i] - rows[i][0], cut[k]) for k, i in enumerate(kept)]
    tries = tuple(rules) if rules is not None else default_grid(cut[0].timeframe, seen[0].horizons)
    if not tries:
        raise UsageError("there is no rule to choose from: give at least one")
    walking = Walk.over(cut, account, volatility=[f.bar_volatility(cut[0].timeframe) for f in seen])
    a_year, bars = walking.grid.bars_a_year, len(walking.grid)
    if len(tries) > FEW:
        found = sweep(walking, [[rule.plan(f, account.per_side) for f in seen] for rule in tries], account)
        return Tries(tries, found.sharpe * math.sqrt(a_year), found.growth, found.orders, found.trades, bars)
    table = np.empty((len(tries), 4))
    for k, rule in enumerate(tries):
        target = walking.grid.place([positions(rule, f, account.per_side) for f in seen])
        run = walking.run(target, account, ledger=False)
        ratio = sharpe(run.returns, a_year)
        table[k] = 0.0 if math.isnan(ratio) else ratio, run.growth, run.totals["orders"], run.totals["trades"]
    return Tries(tries, table[:, 0], table[:, 1], table[:, 2].astype(np.int64), table[:, 3].astype(np.int64), bars)


def spread(forecasts: Forecasts, places: NDArray[np.int64], candles: Candles) -> Forecasts:
    """Forecasts made at some bars as forecasts at all of them, NaN at the others."""
    if len(places) == len(candles):
        return forecasts

    def wide(values: Floats) -> Floats:
        out = np.full((len(candles), *values.shape[1:]), np.nan)
        out[places] = values
        return out

    parts = (wide(forecasts.mean), wide(forecasts.volatility), wide(forecasts.quantiles))
    return Forecasts(candles.close_time, forecasts.horizons, *parts, forecasts.levels)
