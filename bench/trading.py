"""Trading items: one backtest of 2.1 M bars, the full set of rules of an account, and a sweep of a thousand parameter pairs.

The score that is traded knows the future on purpose, so that an account that trades thousands of times is not ruined by its costs: the
profits mean nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from bench import market
from bench.item import Goal, Item, Reading, Tool
from bench.timing import PeakMemory, cpu_seconds, digest, release_free_memory

_FEE, _SLIPPAGE, _PURSE = 0.001, 0.0005, 1e6
_DIGITS = 10
"""Final equity counts as equal to 1e-9 of itself."""
_REPEATS = 7
_SWEEP_BARS, _CHUNK = 100_000, 100


@cache
def _score(count: int) -> Any:
    """A noisy look at the return of the next two hours (bars are minutes), in standard deviations."""
    close = np.log(market.columns(count)["close"])
    ahead = np.append(close[120:], np.full(120, close[-1])) - close
    noise = np.convolve(np.random.default_rng(11).normal(0.0, 1.0, count), np.ones(60) / 60**0.5, "same")
    return ahead / ahead.std() + 0.7 * noise


@cache
def _decided(count: int, short: bool) -> Any:
    """Positions held from a score beyond a threshold until it changes its sign; both ways with a threshold that makes as many orders."""
    score, enter = _score(count), 2.46 if short else 2.0
    out, held = np.zeros(count), 0.0
    for t, x in enumerate(score.tolist()):
        if held * x < 0.0:
            held = 0.0
        if held == 0.0 and (x > enter or (short and x < -enter)):
            held = 1.0 if x > 0.0 else -1.0
        out[t] = held
    return out


# trust/backtest


def _backtest(small: bool) -> dict[str, Reading]:
    from candelabra.trading.account import Account
    from candelabra.trading.backtest import backtest

    count = market.rows(small)
    minutes, target = market.candles(count), _decided(count, False)
    account = Account(purse=_PURSE, taker=_FEE, slippage=_SLIPPAGE)
    made = backtest(minutes, target, account, ledger=False)
    seal = digest(np.array([made.final]), int(made.totals["orders"]), digits=_DIGITS)
    seconds = cpu_seconds(lambda: backtest(minutes, target, account, ledger=False), _REPEATS)
    return {"": Reading(seconds * 1e3, "CPU ms", seal, f"{made.totals['orders']:,.0f} orders; equity curve and trades kept")}


def _signals(target: Any) -> tuple[Any, Any]:
    """Orders at the bar after each decision, as vectorbt takes them."""
    wanted = np.concatenate([[0.0], target[:-1]])
    before = np.concatenate([[0.0], wanted[:-1]])
    return wanted > before, wanted < before


def _backtest_vectorbt(small: bool) -> dict[str, Reading]:
    import pandas as pd
    import vectorbt

    count = market.rows(small)
    c = market.columns(count)
    index = pd.to_datetime(market.open_time_ms(count), unit="ms")
    close, price = (pd.Series(c[name], index=index) for name in ("close", "open"))
    entries, exits = (pd.Series(x, index=index) for x in _signals(_decided(count, False)))

    def run() -> tuple[float, int]:
        made = vectorbt.Portfolio.from_signals(
            close, entries, exits, price=price, fees=_FEE, slippage=_SLIPPAGE, init_cash=_PURSE, freq="1min"
        )  # fmt: skip
        return float(made.final_value()), int(made.orders.count())

    final, orders = run()
    seal = digest(np.array([final]), orders, digits=_DIGITS)
    return {"": Reading(cpu_seconds(run, _REPEATS) * 1e3, "CPU ms", seal, f"{orders:,} orders; from_signals, final value and order count")}


BACKTEST = Item(
    "trust/backtest",
    "2.1 M bars, long or flat, filled at the next open with fee and slippage",
    {"candelabra": Tool(_backtest), "vectorbt": Tool(_backtest_vectorbt, ("vectorbt",), "vectorbt")},
    (Goal("vectorbt", "", lambda v: v["vectorbt"][""] / v["candelabra"][""], ">= 20"),),
    reference="vectorbt",
)


# trust/backtest-full


def _full(small: bool, *, everything: bool) -> dict[str, Reading]:
    from candelabra.trading.account import Account
    from candelabra.trading.backtest import backtest

    count = market.rows(small)
    minutes, target = market.candles(count), _decided(count, everything)
    simple = Account(purse=_PURSE, taker=_FEE, slippage=_SLIPPAGE)
    full = Account(
        purse=_PURSE, taker=_FEE, slippage=_SLIPPAGE, slippage_volatility=0.1, funding=0.0001, leverage=3.0, maintenance=0.01, stop=0.01,
        take=0.02,
    )  # fmt: skip
    account, volatility = (full, [np.full(count, 5e-4)]) if everything else (simple, None)
    made = backtest(minutes, target, account, volatility=volatility, ledger=False)
    seconds = cpu_seconds(lambda: backtest(minutes, target, account, volatility=volatility, ledger=False), _REPEATS)
    ends = {reason: sum(t.reason == reason for t in made.trades) for reason in ("rule", "stop", "take", "liquidation")}
    note = f"{made.totals['orders']:,.0f} orders; trades ended by {', '.join(f'{k} {v:,}' for k, v in ends.items())}"
    return {"": Reading(seconds * 1e3, "CPU ms", digest(np.array([made.final])), note)}


FULL = Item(
    "trust/backtest-full",
    "the same with shorts, three times leverage, stop, take-profit, funding, liquidation and slippage by volatility",
    {"candelabra": Tool(lambda small: _full(small, everything=True)), "simple": Tool(lambda small: _full(small, everything=False))},
    (Goal("candelabra", "", lambda v: v["candelabra"][""] / v["simple"][""], "<= 2"),),
)


# trust/backtest-sweep


def _pairs(small: bool) -> list[tuple[float, float]]:
    """Thresholds to enter above and to leave below."""
    every = [(float(enter), float(leave)) for enter in np.linspace(0.8, 3.0, 40) for leave in np.linspace(-1.0, 0.5, 25)]
    return every[:: 1 if not small else 25]


def _sweep(small: bool) -> dict[str, Reading]:
    from candelabra.trading.account import Account
    from candelabra.trading.backtest import Walk
    from candelabra.trading.rules import Plan
    from candelabra.trading.sweep import sweep

    count = _SWEEP_BARS if not small else 20_000
    minutes, score, ones = market.candles(count), _score(count), np.ones(count)
    account = Account(purse=_PURSE, taker=_FEE, slippage=_SLIPPAGE)

    def run() -> Any:
        return sweep(Walk.over(minutes, account), [[Plan(score, ones, enter, leave)] for enter, leave in _pairs(small)], account)

    made = run()
    seal = digest(np.array([(1.0 + made.growth).sum()]), int(made.orders.sum()), digits=_DIGITS)
    seconds = cpu_seconds(run, 3)
    release_free_memory()
    with PeakMemory() as peak:
        run()
    note = f"{len(made):,} pairs x {count:,} bars, {made.orders.sum():,} orders"
    return {"": Reading(seconds * 1e3, "CPU ms", seal, note), "memory": Reading(peak.grown / 1e6, "MB")}


def _sweep_vectorbt(small: bool) -> dict[str, Reading]:
    import pandas as pd
    import vectorbt

    count = _SWEEP_BARS if not small else 20_000
    c, score, pairs = market.columns(count), _score(count), np.array(_pairs(small))
    index = pd.to_datetime(market.open_time_ms(count), unit="ms")
    close, price = (pd.Series(c[name], index=index) for name in ("close", "open"))
    known = np.concatenate([[0.0], score[:-1]])[:, None]

    def run() -> tuple[float, int]:
        total, orders = 0.0, 0
        for first in range(0, len(pairs), _CHUNK):  # all columns at once would take tens of gigabytes
            enter, leave = pairs[first : first + _CHUNK].T
            made = vectorbt.Portfolio.from_signals(
                close, pd.DataFrame(known > enter, index=index), pd.DataFrame(known <= leave, index=index), price=price, fees=_FEE,
                slippage=_SLIPPAGE, init_cash=_PURSE, freq="1min",
            )  # fmt: skip
            total, orders = total + float(made.final_value().sum()), orders + int(made.orders.count().sum())
        return total / _PURSE, orders

    final, orders = run()
    seal = digest(np.array([final]), orders, digits=_DIGITS)
    seconds = cpu_seconds(run, 1, warm_up=0)
    release_free_memory()
    with PeakMemory() as peak:
        run()
    note = f"in chunks of {_CHUNK} columns; {orders:,} orders"
    return {"": Reading(seconds * 1e3, "CPU ms", seal, note), "memory": Reading(peak.grown / 1e6, "MB")}


SWEEP = Item(
    "trust/backtest-sweep",
    "1,000 pairs of thresholds x 100,000 bars, signals included",
    {"candelabra": Tool(_sweep), "vectorbt": Tool(_sweep_vectorbt, ("vectorbt",), "vectorbt")},
    (
        Goal("vectorbt", "", lambda v: v["vectorbt"][""] / v["candelabra"][""], ">= 50"),
        Goal("candelabra", "memory", lambda v: v["candelabra"]["memory"], "< 200"),
    ),
    reference="vectorbt",
    rounds=3,
)

ITEMS = (BACKTEST, FULL, SWEEP)
