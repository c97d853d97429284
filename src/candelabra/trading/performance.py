"""Figures of an equity curve and its trades: numpy, annualised by 365 days, tested against `empyrical-reloaded`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.trading.backtest import Backtest, Walk

__all__ = [
    "Performance",
    "break_even",
    "deflated_sharpe",
    "drawdowns",
    "expected_best_sharpe",
    "performance",
    "probabilistic_sharpe",
]

Floats = NDArray[np.float64]
_EULER: Final = 0.5772156649015329
_MOST_COST: Final = 0.2


@dataclass(frozen=True)
class Performance:
    """What an account did, net of costs; shares are fractions, NaN where nothing can be said (no trades, no losses).

    ``growth``: net return of the range; ``cagr``: the same a year (365 days); ``volatility``, ``sharpe``, ``sortino``, ``calmar``:
    annualised, from returns a bar, without a risk-free rate; ``max_drawdown``: the largest fall from a peak; ``drawdown_bars``: the longest
    time under a peak; ``exposure``: mean size of the positions over equity; ``in_market``: share of bars with one; ``turnover``: value of
    all orders a year, over mean equity; ``hit_rate``: share of trades that earned; ``profit_factor``: what they earned over what the others
    lost; ``fees``, ``slippage``, ``funding``: sums over the purse.
    """

    growth: float
    cagr: float
    volatility: float
    sharpe: float
    sortino: float
    calmar: float
    max_drawdown: float
    drawdown_bars: int
    exposure: float
    in_market: float
    turnover: float
    trades: int
    hit_rate: float
    profit_factor: float
    fees: float
    slippage: float
    funding: float

    def as_dict(self) -> dict[str, float | int]:
        """Plain values."""
        return asdict(self)


def performance(run: Backtest) -> Performance:
    """All figures of a backtest that kept its ledger."""
    r, grid, purse = run.returns, run.grid, run.account.purse
    year = grid.bars_a_year
    fall, longest = drawdowns(run.equity, purse)
    cagr = growth_a_year(run.growth, grid.years)
    deepest = float(fall.min(initial=0.0))
    profits = np.array([t.profit for t in run.trades])
    earned, lost = float(profits[profits > 0.0].sum()), float(-profits[profits < 0.0].sum())
    mean_equity = float(run.equity.mean())
    totals = run.totals
    return Performance(
        growth=run.growth,
        cagr=cagr,
        volatility=volatility(r, year),
        sharpe=sharpe(r, year),
        sortino=sortino(r, year),
        calmar=cagr / -deepest if deepest < 0.0 else math.nan,
        max_drawdown=deepest,
        drawdown_bars=longest,
        exposure=float(run.exposure.mean()),
        in_market=totals["bars_in_market"] / len(grid),
        turnover=totals["traded"] / mean_equity / grid.years if mean_equity > 0.0 else math.nan,
        trades=len(profits),
        hit_rate=float((profits > 0.0).mean()) if len(profits) else math.nan,
        profit_factor=earned / lost if lost > 0.0 else math.nan,
        fees=totals["fees"] / purse,
        slippage=totals["slippage"] / purse,
        funding=totals["funding"] / purse,
    )


def growth_a_year(growth: float, years: float) -> float:
    """The growth a year that makes ``growth`` in ``years``; -1 for a purse that is lost.

    >>> round(growth_a_year(0.21, 2.0), 12)
    0.1
    """
    if not years > 0.0:
        return math.nan
    if growth <= -1.0:
        return -1.0
    # a fortnight extrapolated to a year can leave the range of numbers
    return float(np.expm1(min(math.log1p(growth) / years, 700.0)))


def volatility(returns: Floats, a_year: float) -> float:
    """Standard deviation of returns, a year."""
    return float(returns.std(ddof=1) * math.sqrt(a_year)) if len(returns) > 1 else math.nan


def sharpe(returns: Floats, a_year: float) -> float:
    """Mean over standard deviation, a year; NaN when nothing moves."""
    spread = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return float(returns.mean()) / spread * math.sqrt(a_year) if spread > 1e-15 else math.nan


def sortino(returns: Floats, a_year: float) -> float:
    """Mean over the root mean square of the losses (downside deviation from 0), a year; NaN without losses."""
    down = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2))) if len(returns) else 0.0
    return float(returns.mean()) / down * math.sqrt(a_year) if down > 1e-15 else math.nan


def drawdowns(equity: Floats, purse: float) -> tuple[Floats, int]:
    """How far equity is below its peak at each bar (0 or negative), and the longest stretch of bars below one.

    >>> fall, longest = drawdowns(np.array([110.0, 99.0, 104.5, 121.0]), 100.0)
    >>> [round(x, 6) for x in fall.tolist()], longest
    ([0.0, -0.1, -0.05, 0.0], 2)
    """
    peak = np.maximum.accumulate(np.maximum(equity, purse))
    fall = equity / peak - 1.0
    under = fall < 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], under, [False]]).astype(np.int8)))
    return fall, int((edges[1::2] - edges[::2]).max(initial=0))


# --- luck ---------------------------------------------------------------------------------------------------------------------------


def probabilistic_sharpe(returns: ArrayLike, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio of a bar is above ``benchmark`` (both not annualised), given skew and fat tails.

    Bailey and Lopez de Prado (2012): Phi((S - S0) sqrt(n - 1) / sqrt(1 - skew S + (kurtosis - 1) / 4 S^2)). NaN when nothing moves.
    """
    from scipy.special import ndtr

    r = np.asarray(returns, np.float64)
    spread = float(r.std(ddof=1)) if len(r) > 2 else 0.0
    if spread <= 1e-15:
        return math.nan
    ratio = float(r.mean()) / spread
    z = (r - r.mean()) / r.std()
    skew, kurtosis = float(np.mean(z**3)), float(np.mean(z**4))
    denominator = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    return float(ndtr((ratio - benchmark) * math.sqrt(len(r) - 1.0) / math.sqrt(max(denominator, 1e-12))))


def expected_best_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio that the best of ``trials`` rules without skill shows on average, when their ratios have this ``variance``.

    Bailey and Lopez de Prado (2014): sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e))), g = 0.5772..., Z the normal quantile function.

    >>> expected_best_sharpe(1, 1.0), round(expected_best_sharpe(100, 1.0), 2)
    (0.0, 2.53)
    """
    from scipy.special import ndtri

    if trials <= 1:
        return 0.0
    return math.sqrt(variance) * float((1.0 - _EULER) * ndtri(1.0 - 1.0 / trials) + _EULER * ndtri(1.0 - 1.0 / (trials * math.e)))


def deflated_sharpe(returns: ArrayLike, trials: int, variance: float | None = None) -> float:
    """Probability that the true Sharpe ratio is above what the best of ``trials`` tries shows by luck alone.

    ``variance`` of the ratios of a bar among the tries; None: that of a rule without skill on as many bars, 1 / (n - 1), which is
    stricter than the one among tries that resemble each other.
    """
    r = np.asarray(returns, np.float64)
    if len(r) < 3:
        return math.nan
    return probabilistic_sharpe(r, expected_best_sharpe(trials, 1.0 / (len(r) - 1.0) if variance is None else variance))


# --- costs --------------------------------------------------------------------------------------------------------------------------


def break_even(walking: Walk, target: Floats, run: Backtest) -> float:
    """The cost of an order, as a share of its value, at which the same decisions would have earned nothing.

    Fees and slippage are replaced by this one cost; funding, stops and leverage stay. 0: they lose even for free; NaN: no orders; at most
    20 %.
    """
    if run.totals["orders"] == 0.0:
        return math.nan

    def net(cost: float) -> float:
        account = replace(run.account, taker=cost, maker=cost, slippage=0.0, slippage_volatility=0.0)
        return walking.run(target, account, ledger=False).growth

    return _root(net, 0.0, _MOST_COST)


def _root(net: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses 0, between ``low`` (returned when it begins below) and ``high``, to 0.001 basis points."""
    if net(low) <= 0.0:
        return low
    if net(high) > 0.0:
        return high
    while high - low > 1e-7:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if net(middle) > 0.0 else (low, middle)
    return 0.5 * (low + high)
