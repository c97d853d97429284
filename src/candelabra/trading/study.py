"""`Study`: one rule on one range with all it must be compared with: buy-and-hold, flat, chance, its costs, the tries behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.errors import DataError
from candelabra.metrics.significance import Difference, adjusted_p_value, block_bootstrap
from candelabra.trading.account import Account
from candelabra.trading.backtest import Backtest, Walk
from candelabra.trading.choice import spread
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.performance import Performance, break_even, deflated_sharpe, performance, probabilistic_sharpe
from candelabra.trading.rules import BuyAndHold, Rule, positions, told

__all__ = ["COSTS", "Chance", "Study", "study"]

Floats = NDArray[np.float64]
COSTS: Final = (0.0, 0.0001, 0.0002, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005)
"""Costs of an order at which every study is run again."""
DRAWS: Final = 500


@dataclass(frozen=True, eq=False)
class Chance:
    """The same positions at random times: the decisions moved in time by random lengths, their end joined to their start.

    Exposure and turnover stay as they are (but for an order at the seam), also how positions follow each other; only the tie to
    prices is cut.
    ``growth`` ``(draws,)``; ``percentile``: share of draws that did worse, ties half (NaN when there is no timing to test).
    """

    growth: Floats
    percentile: float


@dataclass(frozen=True, eq=False)
class Study:
    """A backtest with its comparisons; intervals are 95 % bootstrap ones (blocks of ``block`` bars).

    ``sharpe`` of the rule a year; ``excess``: log growth a year beyond buy-and-hold; ``cost_curve``: net growth at each of `COSTS`;
    ``break_even``: see `performance.break_even`; ``trials``: rules tried behind this one.
    """

    rule: Rule
    symbols: tuple[str, ...]
    run: Backtest
    hold: Backtest
    sharpe: Difference
    excess: Difference
    chance: Chance
    cost_curve: tuple[tuple[float, float], ...]
    break_even: float
    trials: int
    block: int

    @cached_property
    def figures(self) -> Performance:
        """Of the rule."""
        return performance(self.run)

    @cached_property
    def hold_figures(self) -> Performance:
        """Of buy-and-hold with the same costs."""
        return performance(self.hold)

    @cached_property
    def probabilistic(self) -> float:
        """Probability that the true Sharpe ratio is above 0."""
        return probabilistic_sharpe(self.run.returns)

    @cached_property
    def deflated(self) -> float:
        """The same above what the best of the tries shows by luck."""
        return deflated_sharpe(self.run.returns, self.trials)

    @property
    def span_ms(self) -> tuple[int, int]:
        """From the first open to the last close."""
        return int(self.run.grid.open_time[0]), int(self.run.grid.close_time[-1])

    @property
    def months(self) -> tuple[tuple[str, float, float], ...]:
        """``(month, net return, return of buy-and-hold)`` of every calendar month (UTC) with bars."""
        close = (self.run.grid.close_time - 1).astype("datetime64[ms]").astype("datetime64[M]")
        ends = np.append(np.flatnonzero(close[1:] != close[:-1]), len(close) - 1)
        rows = []
        ours = theirs = self.run.account.purse
        for end in ends:
            now, hold = float(self.run.equity[end]), float(self.hold.equity[end])
            rows.append((str(close[end]), now / ours - 1.0 if ours > 0.0 else 0.0, hold / theirs - 1.0 if theirs > 0.0 else 0.0))
            ours, theirs = now, hold
        return tuple(rows)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        trades = [
            {
                "symbol": t.symbol,
                "opened": format_time(int(self.run.grid.open_time[t.opened])),
                "closed": format_time(int(self.run.grid.close_time[t.closed])),
                "side": "long" if t.units > 0.0 else "short",
                "entry": t.entry,
                "exit": t.exit,
                "profit": t.profit,
                "reason": t.reason,
            }
            for t in self.run.trades
        ]
        start, end = self.span_ms
        return {
            "rule": told(self.rule),
            "account": self.run.account.as_dict(),
            "symbols": list(self.symbols),
            "start": format_time(start),
            "end": format_time(end),
            "bars": len(self.run.grid),
            "figures": self.figures.as_dict(),
            "buy_and_hold": self.hold_figures.as_dict(),
            "sharpe": _interval(self.sharpe),
            "excess_over_buy_and_hold": _interval(self.excess) | {"p_value_adjusted": adjusted_p_value(self.excess.p_value, self.trials)},
            "random_timing_percentile": self.chance.percentile,
            "break_even_per_side": self.break_even,
            "cost_curve": [{"per_side": c, "growth": g} for c, g in self.cost_curve],
            "probabilistic_sharpe": self.probabilistic,
            "deflated_sharpe": self.deflated,
            "trials": self.trials,
            "months": [{"month": m, "net": a, "buy_and_hold": b} for m, a, b in self.months],
            "trades": trades,
        }


def study(
    rule: Rule,
    candles: Sequence[Candles],
    forecasts: Sequence[Forecasts],
    rows: Sequence[NDArray[np.int64]],
    account: Account,
    *,
    trials: int = 1,
    block: int = 168,
    resamples: int = 2000,
    draws: int = DRAWS,
    seed: int = 0,
    allowed: Sequence[NDArray[np.bool_]] | None = None,
    weights: Sequence[float] | None = None,
) -> Study:
    """A rule on some bars, and its comparisons on the same ones.

    ``candles``: one series a symbol; ``rows[i]``: the bars judged, int64, rising; ``forecasts[i]``: made at those bars;
    ``allowed[i]`` ``(rows,)``: a filter. The account opens with the first of them, flat. ``trials``: rules tried behind this one. Raises
    DataError for no bars.
    """
    kept = [i for i, r in enumerate(rows) if len(r) > 1]
    if not kept:
        raise DataError("there are no bars to backtest on: a decision needs a bar and the one after it")
    cut = [candles[i].rows(slice(int(rows[i][0]), int(rows[i][-1]) + 1)) for i in kept]
    seen = [spread(forecasts[i], rows[i] - rows[i][0], cut[k]) for k, i in enumerate(kept)]
    shares = None if weights is None else [weights[i] for i in kept]
    walking = Walk.over(cut, account, weights=shares, volatility=[f.bar_volatility(cut[0].timeframe) for f in seen])
    wanted = []
    for k, i in enumerate(kept):
        mask = None
        if allowed is not None:
            mask = np.zeros(len(cut[k]), np.bool_)
            mask[rows[i] - rows[i][0]] = allowed[i]
        wanted.append(positions(rule, seen[k], account.per_side, allowed=mask))
    target = walking.grid.place(wanted)
    run = walking.run(target, account)
    plain = replace(account, leverage=1.0, stop=None, take=None)
    held = walking.grid.place([positions(BuyAndHold(), f, account.per_side) for f in seen])
    hold = walking.run(held, plain)
    curve = []
    for cost in COSTS:
        same = replace(account, taker=cost, maker=min(cost, account.maker), slippage=0.0, slippage_volatility=0.0)
        curve.append((cost, walking.run(target, same, ledger=False).growth))
    return Study(
        rule=rule,
        symbols=walking.grid.symbols,
        run=run,
        hold=hold,
        sharpe=_sharpe_interval(run, block, resamples, seed),
        excess=_excess(run, hold, block, resamples, seed),
        chance=chance(walking, target, run, block, draws, seed),
        cost_curve=tuple(curve),
        break_even=break_even(walking, target, run),
        trials=max(1, trials),
        block=block,
    )


def chance(walking: Walk, target: Floats, run: Backtest, block: int, draws: int, seed: int) -> Chance:
    """See `Chance`; shifts are at least a block where the range is long enough for it."""
    bars = len(target)
    settled = np.nan_to_num(target)
    if bars < 3 or (settled == settled[0]).all():
        return Chance(np.zeros(0), math.nan)
    least = block if bars > 4 * block else 1
    shifts = np.random.default_rng(seed).integers(least, bars - least + 1, draws)
    found = np.array([walking.run(np.roll(target, by, axis=0), run.account, ledger=False).growth for by in shifts])
    below, level = float((found < run.growth).sum()), float((found == run.growth).sum())
    return Chance(found, (below + 0.5 * level + 0.5) / (draws + 1.0))


def _sharpe_interval(run: Backtest, block: int, resamples: int, seed: int) -> Difference:
    r, a_year = run.returns, math.sqrt(run.grid.bars_a_year)

    def statistic(s: Floats) -> Floats:
        n = s[..., 2]
        mean = s[..., 0] / n
        variance = (s[..., 1] / n - mean**2) * n / (n - 1.0)
        return np.asarray(np.where(variance > 1e-30, mean / np.sqrt(np.maximum(variance, 1e-30)), 0.0) * a_year)

    return block_bootstrap(statistic, np.stack([r, r * r, np.ones(len(r))], axis=1), block, resamples=resamples, seed=seed)


def _excess(run: Backtest, hold: Backtest, block: int, resamples: int, seed: int) -> Difference:
    logs = [np.log1p(np.maximum(b.returns, -1.0 + 1e-9)) for b in (run, hold)]
    a_year = run.grid.bars_a_year

    def statistic(s: Floats) -> Floats:
        return np.asarray(s[..., 0] / s[..., 1] * a_year)

    return block_bootstrap(statistic, np.stack([logs[0] - logs[1], np.ones(len(logs[0]))], axis=1), block, resamples=resamples, seed=seed)


def _interval(found: Difference) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high, "p_value": found.p_value}
