"""Many plans over the same candles at once: every core walks its share of them through the account of the backtest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from candelabra.errors import UsageError
from candelabra.trading.account import Account
from candelabra.trading.backtest import Walk
from candelabra.trading.kernel import walk
from candelabra.trading.rules import SIDES, Plan, follow

__all__ = ["Sweep", "sweep"]

Floats = NDArray[np.float64]
_SETTINGS = ("score", "size", "enter", "leave", "long", "short", "tolerance")


@dataclass(frozen=True, eq=False)
class Sweep:
    """What became of every plan, arrays ``(plans,)``: ``growth`` net of costs; ``sharpe`` of one bar's returns (not annualised);
    ``drawdown`` the largest fall from a peak, as a share of it; ``orders``, ``trades``; ``traded``: value of all orders in purses.
    """

    growth: Floats
    sharpe: Floats
    drawdown: Floats
    orders: NDArray[np.int64]
    trades: NDArray[np.int64]
    traded: Floats

    def __len__(self) -> int:
        return len(self.growth)


@njit(cache=True, error_model="numpy")
def _measure(equity: Floats, purse: float) -> tuple[float, float, float]:
    """Growth, Sharpe of a bar and largest drawdown of an equity curve.

    A flat stretch costs a comparison: most plans are out of the market most of the time.
    """
    before, peak, deepest = purse, purse, 0.0
    total, squares = 0.0, 0.0
    for k in range(equity.size):
        now = equity[k]
        if now == before:
            continue
        r = now / before - 1.0 if before > 0.0 else 0.0
        total += r
        squares += r * r
        if now > peak:
            peak = now
        elif peak - now > deepest * peak:
            deepest = (peak - now) / peak
        before = now
    n = equity.size
    spread = squares / n - (total / n) ** 2
    sharpe = total / n / np.sqrt(spread * n / (n - 1)) if n > 1 and spread > 1e-30 else 0.0
    return equity[n - 1] / purse - 1.0, sharpe, deepest


@njit(cache=True, parallel=True, error_model="numpy")
def _sweep(
    open_: Floats, high: Floats, low: Floats, close: Floats, scores: Floats, sizes: Floats, allowed: NDArray[np.bool_], settings: Floats,
    weights: Floats, volatility: Floats, due: NDArray[np.int64], rates: Floats, p: Floats, workers: int,
) -> Floats:  # fmt: skip
    bars, symbols = open_.shape
    out = np.zeros((len(settings), 6))
    for worker in prange(workers):
        column = np.empty(bars)
        target = column.reshape((bars, 1)) if symbols == 1 else np.empty((bars, symbols))
        equity, none, no_units, no_trades = np.empty(bars), np.empty(0), np.empty((0, symbols)), np.empty((0, 10))
        for k in range(worker, len(settings), workers):
            score, size, enter, leave, long, short, tolerance = settings[k]
            for s in range(symbols):
                follow(scores[int(score), s], sizes[int(size), s], allowed[s], enter, leave, long > 0.0, short > 0.0, tolerance, column)
                if symbols > 1:
                    target[:, s] = column
            guarded = p[1] > 1.0 or len(due) > 0 or short > 0.0
            totals = walk(
                open_, high, low, close, target, weights, volatility, due, rates, p, guarded, equity, none, no_units, no_trades
            )  # fmt: skip
            out[k, 0], out[k, 1], out[k, 2] = _measure(equity, p[0])
            out[k, 3], out[k, 4], out[k, 5] = totals[7], totals[4], totals[3] / p[0]
    return out


def sweep(walking: Walk, plans: Sequence[Sequence[Plan]], account: Account, *, allowed: Sequence[NDArray[np.bool_]] | None = None) -> Sweep:
    """Every plan (one `Plan` per symbol, at the symbol's own bars) through one account each; memory is that of a few plans.

    Plans with equal score or size arrays share their memory. Raises UsageError when one symbol's plan enters elsewhere than
    another's, since a setting belongs to the account.
    """
    grid = walking.grid
    if not plans:
        raise UsageError("a sweep needs at least one plan")
    known: tuple[list[list[Floats]], list[list[Floats]]] = ([], [])
    settings = np.empty((len(plans), len(_SETTINGS)))
    for k, own in enumerate(plans):
        first = own[0]
        same = {(p.enter, p.leave, p.side, p.tolerance) for p in own}
        if len(own) != len(grid.symbols) or len(same) != 1:
            raise UsageError(
                f"plan number {k + 1} is not one rule for each of {', '.join(grid.symbols)}: give a plan per symbol, set alike"
            )
        at = []
        for which, name in enumerate(("score", "size")):
            values = [getattr(p, name) for p in own]
            at.append(_place(known[which], values))
        settings[k] = (*at, first.enter, first.leave, *SIDES[first.side], first.tolerance)
    mask = np.ones((len(grid.symbols), len(grid)), np.bool_)
    if allowed is not None:
        mask = np.ascontiguousarray(grid.place([a.astype(np.float64) for a in allowed]).T > 0.0)
    # a symbol without a bar at some time has no score there: what it wanted stays, as in the backtest
    absent = np.isnan(grid.close)
    columns = (grid.open, grid.high, grid.low, grid.close)
    scores, sizes = (np.stack([np.ascontiguousarray(grid.place(values).T) for values in own]) for own in known)
    if absent.any():
        scores, sizes, mask = _carried(scores, absent), _carried(sizes, absent), _carried(mask, absent)
    workers = min(get_num_threads(), len(plans))
    table = _sweep(
        *columns, scores, sizes, mask, settings, walking.weights, walking.volatility, walking.due, walking.rates, account.vector(), workers
    )  # fmt: skip
    growth, sharpe, drawdown, orders, trades, traded = table.T
    return Sweep(growth, sharpe, drawdown, orders.astype(np.int64), trades.astype(np.int64), traded)


def _place(known: list[list[Floats]], values: list[Floats]) -> int:
    """Where the same arrays already are among ``known``, or at its end: rules that differ in thresholds share what they read."""
    for at in range(len(known) - 1, -1, -1):
        if all(a is b or np.array_equal(a, b, equal_nan=True) for a, b in zip(known[at], values, strict=True)):
            return at
    known.append(values)
    return len(known) - 1


def _carried(values: NDArray[Any], absent: NDArray[np.bool_]) -> NDArray[Any]:
    last = np.maximum.accumulate(np.where(absent, 0, np.arange(len(absent))[:, None]), axis=0).T
    return np.ascontiguousarray(np.take_along_axis(values, np.broadcast_to(last, values.shape), axis=-1))
