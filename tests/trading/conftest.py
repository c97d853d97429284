"""A slow account in plain Python, written from the rules of the page and not from the kernel: dictionaries, one event after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.trading.account import Account
from candelabra.trading.backtest import Backtest, Walk
from candelabra.trading.grid import Grid


@dataclass
class Position:
    """What is held of one symbol, and what it has cost so far."""

    units: float
    entry: float
    opened: int
    stop: float | None
    take: float | None
    largest: float
    flow: float = 0.0
    fees: float = 0.0
    funding: float = 0.0

    @property
    def side(self) -> int:
        return 1 if self.units > 0 else -1


@dataclass
class SlowAccount:
    """Follows decisions bar by bar; ``trades``, ``equity``, ``cash`` and ``units`` are what the fast one must also say."""

    grid: Grid
    account: Account
    weights: list[float]
    funding: NDArray[np.float64]
    volatility: NDArray[np.float64] | None = None
    cash: float = 0.0
    forgiven: float = 0.0
    book: dict[int, Position] = field(default_factory=dict)
    mark: dict[int, float] = field(default_factory=dict)
    wanted: dict[int, float] = field(default_factory=dict)
    acted: dict[int, float] = field(default_factory=dict)
    barred: dict[int, int] = field(default_factory=dict)
    trades: list[dict[str, Any]] = field(default_factory=list)
    equities: list[float] = field(default_factory=list)
    cashes: list[float] = field(default_factory=list)
    holdings: list[list[float]] = field(default_factory=list)

    def run(self, target: NDArray[np.float64]) -> None:
        """The whole range."""
        self.cash = self.account.purse
        symbols = range(len(self.grid.symbols))
        for t in range(len(self.grid)):
            here = [s for s in symbols if not math.isnan(self.grid.open[t, s])]
            price = {s: float(self.grid.open[t, s]) if s in here else self.mark.get(s, 0.0) for s in symbols}
            self.pay_funding(t, price)
            self.at_the_open(t, here, price)
            self.orders(t, here, price)
            self.inside(t, here, price)
            for s in here:
                self.mark[s] = float(self.grid.close[t, s])
            for s in symbols:
                if not math.isnan(target[t, s]):
                    self.wanted[s] = float(target[t, s])
            self.equities.append(self.cash + sum(p.units * self.mark[s] for s, p in self.book.items()))
            self.cashes.append(self.cash)
            self.holdings.append([self.book[s].units if s in self.book else 0.0 for s in symbols])
        for s in list(symbols):
            if s in self.book:
                p = self.book.pop(s)
                p.flow += p.units * self.mark[s]
                self.note(s, len(self.grid) - 1, p, self.mark[s], "open")

    def slip(self, t: int, s: int) -> float:
        moving = self.account.slippage_volatility
        if not moving or t == 0 or self.volatility is None:
            return self.account.slippage
        return min(self.account.slippage + moving * float(self.volatility[t - 1, s]), 0.5)

    def pay_funding(self, t: int, price: dict[int, float]) -> None:
        for s, p in self.book.items():
            due = p.units * price[s] * float(self.funding[t, s])
            self.cash -= due
            p.flow -= due
            p.funding += due

    def margin(self, price: dict[int, float]) -> float:
        """Equity above maintenance."""
        held = sum(p.units * price[s] for s, p in self.book.items())
        return self.cash + held - self.account.maintenance * sum(abs(p.units) * price[s] for s, p in self.book.items())

    def at_the_open(self, t: int, here: list[int], price: dict[int, float]) -> None:
        for s in sorted(self.book):
            p = self.book[s]
            if s not in here:
                continue
            if p.stop is not None and p.side * price[s] <= p.side * p.stop:
                self.trade(t, s, -p.units, price[s], self.slip(t, s), self.account.taker, "stop")
            elif p.take is not None and p.side * price[s] >= p.side * p.take:
                self.trade(t, s, -p.units, p.take, 0.0, self.account.maker, "take")
        if self.book and self.margin(price) <= 0:
            self.liquidate(t, price)

    def orders(self, t: int, here: list[int], price: dict[int, float]) -> None:
        purse = self.cash + sum(p.units * price[s] for s, p in self.book.items())
        due = [s for s in here if self.wanted.get(s, 0.0) != self.acted.get(s, 0.0)]
        for reductions in (True, False):
            for s in list(due):
                wanted = self.wanted[s]
                if purse <= 0:
                    self.acted[s] = wanted
                    continue
                sign = (wanted > 0) - (wanted < 0)
                if self.barred.get(s):
                    if sign == self.barred[s]:
                        self.acted[s] = wanted
                        due.remove(s)
                        continue
                    self.barred[s] = 0
                held = self.book[s].units if s in self.book else 0.0
                full = price[s] * (1 + self.slip(t, s)) * (1 + self.account.taker)
                others = sum(abs(p.units) * price[k] for k, p in self.book.items() if k != s)
                room = max((self.account.leverage * purse - others) / full, 0.0)
                aim = wanted * self.weights[s] * self.account.leverage * purse / full
                aim = max(-room, min(room, aim))
                reduces = aim == 0 or (aim * held > 0 and abs(aim) <= abs(held))
                if reduces != reductions:
                    continue
                due.remove(s)
                self.acted[s] = wanted
                if aim * held < 0:
                    self.trade(t, s, -held, price[s], self.slip(t, s), self.account.taker, "rule")
                    held = 0.0
                if aim != held:
                    self.trade(t, s, aim - held, price[s], self.slip(t, s), self.account.taker, "rule")

    def inside(self, t: int, here: list[int], price: dict[int, float]) -> None:
        worst = dict(price)
        for s, p in self.book.items():
            if s in here:
                worst[s] = float(self.grid.low[t, s] if p.units > 0 else self.grid.high[t, s])
        while self.book:
            stops = []
            for s in sorted(self.book):
                p = self.book[s]
                if s in here and p.stop is not None and p.side * worst[s] <= p.side * p.stop:
                    way = worst[s] - price[s]
                    stops.append((0.0 if way == 0 else min(max((p.stop - price[s]) / way, 0.0), 1.0), s))
            first = min(stops, default=(2.0, -1))
            before, after = self.margin(price), self.margin(worst)
            if after <= 0:
                part = 0.0 if before <= 0 else before / (before - after)
                if part < first[0]:
                    self.liquidate(t, {s: price[s] + part * (worst[s] - price[s]) for s in price})
                    return
            if not stops:
                break
            p = self.book[first[1]]
            assert p.stop is not None
            self.trade(t, first[1], -p.units, p.stop, self.slip(t, first[1]), self.account.taker, "stop")
        for s in sorted(self.book):
            p = self.book[s]
            if s in here and p.take is not None:
                best = float(self.grid.high[t, s] if p.units > 0 else self.grid.low[t, s])
                if p.side * best >= p.side * p.take:
                    self.trade(t, s, -p.units, p.take, 0.0, self.account.maker, "take")

    def liquidate(self, t: int, price: dict[int, float]) -> None:
        for s in sorted(self.book):
            fee = self.account.taker + self.account.liquidation_fee
            self.trade(t, s, -self.book[s].units, price[s], self.slip(t, s), fee, "liquidation")
        if self.cash < 0:
            self.forgiven -= self.cash
            self.cash = 0.0

    def trade(self, t: int, s: int, delta: float, base: float, slip: float, fee: float, reason: str) -> None:
        price = base * (1 + slip) if delta > 0 else base * (1 - slip)
        paid = abs(delta) * price * fee
        self.cash -= delta * price + paid
        p = self.book.get(s)
        if p is None:
            side = 1 if delta > 0 else -1
            stop = None if self.account.stop is None else price * (1 - side * self.account.stop)
            take = None if self.account.take is None else price * (1 + side * self.account.take)
            p = self.book[s] = Position(0.0, price, t, stop, take, delta)
        p.flow -= delta * price + paid
        p.fees += paid
        if delta == -p.units:
            self.note(s, t, p, price, reason)
            if reason != "rule":
                self.barred[s] = p.side
            del self.book[s]
        else:
            p.units += delta
            p.largest = max(p.largest, p.units, key=abs)

    def note(self, s: int, t: int, p: Position, price: float, reason: str) -> None:
        self.trades.append(
            {
                "symbol": self.grid.symbols[s], "opened": p.opened, "closed": t, "units": p.largest, "entry": p.entry, "exit": price,
                "profit": p.flow, "fees": p.fees, "funding": p.funding, "reason": reason,
            }
        )  # fmt: skip


def agrees(run: Backtest, walking: Walk, weights: list[float]) -> None:
    """The slow account says the same of every bar and every trade."""
    table = np.zeros(walking.grid.open.shape)
    table[walking.due] = walking.rates
    slow = SlowAccount(walking.grid, run.account, weights, table, walking.volatility if len(walking.volatility) else None)
    slow.run(run.target)
    scale = max(1.0, float(np.abs(run.equity).max()))
    np.testing.assert_allclose(run.equity, slow.equities, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(run.cash, slow.cashes, rtol=1e-8, atol=1e-8 * scale * run.account.leverage)
    np.testing.assert_allclose(run.units, slow.holdings, rtol=1e-8, atol=1e-9 * float(np.abs(run.units).max(initial=0.0)))
    assert len(run.trades) == len(slow.trades)
    for fast, other in zip(run.trades, slow.trades, strict=True):
        assert (fast.symbol, fast.opened, fast.closed, fast.reason) == tuple(other[k] for k in ("symbol", "opened", "closed", "reason"))
        for name in ("units", "entry", "exit", "profit", "fees", "funding"):
            assert getattr(fast, name) == pytest.approx(other[name], rel=1e-7, abs=1e-9 * scale), (name, fast, other)
    assert run.totals["forgiven"] == pytest.approx(slow.forgiven, rel=1e-7, abs=1e-9 * scale)


@pytest.fixture(scope="session")
def agree() -> Callable[[Backtest, Walk, list[float]], None]:
    """Fails unless the slow account says the same as the fast one."""
    return agrees
