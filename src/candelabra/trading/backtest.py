"""`backtest`: what an account that follows decisions would have become, bar by bar and trade by trade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import refuse_hindsight
from candelabra.errors import UsageError
from candelabra.trading.account import Account
from candelabra.trading.grid import Grid, carried
from candelabra.trading.kernel import REASONS, TOTALS, TRADE_COLUMNS, walk

__all__ = ["Backtest", "Trade", "Walk", "backtest", "decisions", "funding_due", "survey"]

Floats = NDArray[np.float64]
_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Trade:
    """A position of one symbol from flat to flat (or to the other side).

    ``opened`` and ``closed``: bars of the grid; ``units``: its largest size, negative for a short; ``entry``, ``exit``: fill prices of the
    first and the last order; ``profit``: in money, after ``fees``, ``funding`` and slippage. ``reason`` for its end: one of
    `kernel.REASONS`; ``open`` means valued at the last close.
    """

    symbol: str
    opened: int
    closed: int
    units: float
    entry: float
    exit: float
    profit: float
    fees: float
    funding: float
    reason: str


@dataclass(frozen=True, eq=False)
class Backtest:
    """An account over a grid: ``equity`` ``(bars,)`` at each close; ``cash`` ``(bars,)`` and ``units`` ``(bars, symbols)`` behind it.

    ``totals``: sums by name (`kernel.TOTALS`), money except for the counts. ``target``: the decisions ``(bars, symbols)``.
    """

    grid: Grid
    account: Account
    target: Floats
    equity: Floats
    cash: Floats
    units: Floats
    totals: dict[str, float]
    rows: Floats

    @property
    def final(self) -> float:
        """Equity at the last close."""
        return float(self.equity[-1])

    @property
    def growth(self) -> float:
        """Net return of the whole range."""
        return self.final / self.account.purse - 1.0

    @cached_property
    def returns(self) -> Floats:
        """Net return of every bar ``(bars,)``; the first counts from the purse, a ruined account stays where it is."""
        before = np.concatenate([[self.account.purse], self.equity[:-1]])
        return np.where(before > 0.0, self.equity / np.where(before > 0.0, before, 1.0) - 1.0, 0.0)

    @cached_property
    def exposure(self) -> Floats:
        """Sum of the sizes of all positions over equity at each close ``(bars,)``."""
        size = np.nansum(np.abs(self.units) * np.nan_to_num(self.grid.marks), axis=1)
        return np.where(self.equity > 0.0, size / np.where(self.equity > 0.0, self.equity, 1.0), 0.0)

    @cached_property
    def trades(self) -> tuple[Trade, ...]:
        """Trades in the order they ended."""
        made = []
        for row in self.rows:
            values = dict(zip(TRADE_COLUMNS, row.tolist(), strict=True))
            values |= {"symbol": self.grid.symbols[int(row[0])], "opened": int(row[1]), "closed": int(row[2])}
            made.append(Trade(**values | {"reason": REASONS[int(row[9])]}))
        return tuple(made)


@dataclass(frozen=True, eq=False)
class Walk:
    """Everything but the decisions and the costs, made ready once for many runs over the same candles."""

    grid: Grid
    weights: Floats
    volatility: Floats
    due: NDArray[np.int64]
    rates: Floats

    @classmethod
    def over(
        cls,
        candles: Candles | Sequence[Candles] | Grid,
        account: Account,
        *,
        weights: Sequence[float] | None = None,
        volatility: Sequence[Floats] | None = None,
        funding: ArrayLike | None = None,
    ) -> Walk:
        """Candles and what goes with them; see `backtest`."""
        grid = candles if isinstance(candles, Grid) else Grid.of(candles)
        refuse_hindsight("a backtest", volatility, funding)
        count = len(grid.symbols)
        shares = np.full(count, 1.0 / count) if weights is None else np.asarray(weights, np.float64)
        if shares.shape != (count,) or not np.isfinite(shares).all() or shares.min() < 0.0 or not 0.0 < shares.sum() <= 1.0 + 1e-9:
            raise UsageError(f"weights {shares.tolist()} must be {count} shares of one purse: 0 or more, with a sum of at most 1")
        scale = np.zeros((0, count))
        if account.slippage_volatility > 0.0:
            if volatility is None:
                raise UsageError("slippage_volatility needs the volatility of one bar at each decision: give volatility, or set it to 0")
            scale = carried(grid.place(volatility))
            if np.isnan(scale[:1]).any():
                scale = np.nan_to_num(scale)
        due, rates = funding_due(grid, account) if funding is None else _given_funding(grid, funding)
        return cls(grid, shares, scale, due, rates)

    def run(self, target: Floats, account: Account, *, ledger: bool = True) -> Backtest:
        """One account over decisions ``(bars, symbols)``, checked; without ``ledger`` cash and units are not kept."""
        grid = self.grid
        bars, count = grid.open.shape
        highest, lowest, changes = survey(target)
        if highest > 1.0 or lowest < -1.0:
            worst = highest if highest > 1.0 else lowest
            raise UsageError(f"a target of {worst:g} is not a share of the purse: give -1 (short) to 1 (long), and set leverage for more")
        guarded = account.leverage > 1.0 or len(self.due) > 0 or lowest < 0.0
        equity = np.empty(bars)
        cash, units = (np.empty(bars), np.empty((bars, count))) if ledger else (np.empty(0), np.empty((0, count)))
        trades = np.empty((changes, len(TRADE_COLUMNS)))
        columns = (grid.open, grid.high, grid.low, grid.close, target)
        totals = walk(*columns, self.weights, self.volatility, self.due, self.rates, account.vector(), guarded, equity, cash, units, trades)
        found = dict(zip(TOTALS, totals.tolist(), strict=True))
        return Backtest(grid, account, target, equity, cash, units, found, trades[: int(found["trades"])])


def backtest(
    candles: Candles | Sequence[Candles] | Grid,
    target: ArrayLike | Sequence[ArrayLike],
    account: Account | None = None,
    *,
    weights: Sequence[float] | None = None,
    volatility: Sequence[Floats] | None = None,
    funding: ArrayLike | None = None,
    ledger: bool = True,
) -> Backtest:
    """Follow decisions: what is decided at the close of a bar is filled at the open of the next bar that exists.

    ``target``: per symbol, the position wanted at each of its closes ``(bars,)``, from -1 (short) to 1 (long), as a share of that symbol's
    part of equity (``weights``, equal ones by default) times the leverage; NaN: as before. An order is made when the target changes,
    sized by equity at the open so that the fill with its fee is the share that is wanted; between orders units are held. After a stop, a
    take-profit or a liquidation the same side stays out until the target has left it. ``volatility``: of one bar's return, known at each
    close (per symbol). ``funding``: a rate due at the open of each bar ``(bars,)`` or ``(bars, symbols)``, instead of the account's.
    Raises UsageError for decisions that are not in range or do not fit the candles.

    >>> c = Candles.of("A/B", "1h", [0, 3_600_000, 7_200_000], [100, 110, 120], [121, 121, 121], [99, 99, 99], [110, 120, 121], [1, 1, 1])
    >>> round(backtest(c, [1.0, 1.0, 1.0], Account(taker=0.0, slippage=0.0)).final, 12)
    1.1
    """
    account = account or Account()
    walking = Walk.over(candles, account, weights=weights, volatility=volatility, funding=funding)
    return walking.run(decisions(walking.grid, target), account, ledger=ledger)


def decisions(grid: Grid, target: ArrayLike | Sequence[ArrayLike]) -> Floats:
    """Decisions of every symbol on the grid ``(bars, symbols)``; UsageError when they do not fit it."""
    refuse_hindsight("a backtest", target, *(target if isinstance(target, list | tuple) else ()))
    one = len(grid.symbols) == 1 and np.ndim(target) == 1  # type: ignore[arg-type]
    per_symbol = [np.asarray(t, np.float64) for t in ([target] if one else target)]  # type: ignore[union-attr]
    return grid.place(per_symbol)


def funding_due(grid: Grid, account: Account) -> tuple[NDArray[np.int64], Floats]:
    """Bars at whose open funding is due ``(k,)`` and the rate of each symbol ``(k, symbols)``: once per moment since the bar before."""
    every, times = round(account.funding_hours * _HOUR_MS), grid.open_time
    moments = np.arange(times[0] // every + 1, times[-1] // every + 1, dtype=np.int64) * every
    due, count = np.unique(np.searchsorted(times, moments), return_counts=True)
    if not account.funding:
        due, count = due[:0], count[:0]
    return due, np.repeat(account.funding * count[:, None].astype(np.float64), len(grid.symbols), axis=1)


def _given_funding(grid: Grid, funding: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    given, count = np.asarray(funding, np.float64), len(grid.symbols)
    if given.shape not in ((len(grid),), (len(grid), 1), (len(grid), count)):
        raise UsageError(f"funding has shape {given.shape}: give a rate for each of the {len(grid)} bars (and each symbol)")
    if not np.isfinite(given).all():
        raise UsageError("funding has values that are not finite: give 0 where nothing is due")
    table = np.broadcast_to(given.reshape(len(grid), -1), (len(grid), count))
    due = np.flatnonzero((table != 0.0).any(axis=1))
    return due, np.ascontiguousarray(table[due])


@njit(cache=True)
def survey(target: Floats) -> tuple[float, float, int]:
    """The highest and the lowest decision, and how many trades they can begin at most: one for each that differs from the one before."""
    highest, lowest, changes = 0.0, 0.0, 0
    for s in range(target.shape[1]):
        before = 0.0
        for t in range(len(target)):
            now = target[t, s]
            if now != before and now == now:
                changes += 1
                before = now
                if now > highest:
                    highest = now
                if now < lowest:
                    lowest = now
    return highest, lowest, changes
