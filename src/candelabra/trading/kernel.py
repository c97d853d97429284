"""The compiled account: one pass over the bars of all symbols, from decisions to fills, stops, funding, liquidation and equity.

The order of events in a bar, which the slow twin in the tests spells out again:

1. funding that fell due by the open is paid on what is held;
2. at the open: a stop that the open has gapped through fills at the open; a take-profit order that it has gapped through fills at its
   own price (a resting order gets no better one); then, if equity is below the maintenance margin, all is liquidated at the open;
3. orders: a decision of an earlier close that differs from the last one acted on is filled at the open, reductions first;
4. inside the bar every symbol is taken to its adverse extreme at the same time, in a straight line: stops fill where they are met and
   what falls below the maintenance margin on the way is liquidated there (the pessimistic tie rule: the good extreme comes last);
5. take-profit orders of what is left fill at their price, if the favourable extreme reached it;
6. the close: equity = cash + units x close, and a new decision.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["BOOK", "COLUMNS", "PARAMETERS", "REASONS", "STATE", "TOTALS", "TRADE_COLUMNS", "carry_on", "walk"]

Floats = NDArray[np.float64]

PARAMETERS: Final = (
    "purse", "leverage", "maker", "taker", "slippage", "slippage_volatility", "stop", "take", "maintenance", "liquidation_fee",
)  # fmt: skip
"""Order of the parameter vector; ``stop`` and ``take`` are 0 where there is none."""

TOTALS: Final = ("fees", "slippage", "funding", "traded", "trades", "forgiven", "bars_in_market", "orders")
TRADE_COLUMNS: Final = ("symbol", "opened", "closed", "units", "entry", "exit", "profit", "fees", "funding", "reason")
REASONS: Final = ("rule", "stop", "take", "liquidation", "open")

# columns of the state of a symbol
_UNITS, _WANTED, _ACTED, _MARK, _STOP, _TAKE, _BARRED = 0, 1, 2, 3, 4, 5, 6
_ENTRY, _OPENED, _FLOW, _FEES, _FUNDING, _PEAK = 7, 8, 9, 10, 11, 12
_COLUMNS = 13
_STRETCH = 32
STATE: Final = _COLUMNS
"""How many numbers say where one symbol of an account stands."""
COLUMNS: Final = {"units": _UNITS, "wanted": _WANTED, "opened": _OPENED, "mark": _MARK}
"""Which of them are of use to others."""
# places in the book
_CASH, _FEE_SUM, _SLIP_SUM, _FUND_SUM, _TRADED, _TRADES, _FORGIVEN, _IN_MARKET, _ORDERS = 0, 1, 2, 3, 4, 5, 6, 7, 8
_RULE, _STOPPED, _TAKEN, _LIQUIDATED, _STILL_OPEN = 0.0, 1.0, 2.0, 3.0, 4.0
BOOK: Final = 1 + len(TOTALS)
"""How many numbers say where the purse stands: cash first, then `TOTALS`."""


# parts of one compiled whole, without checks for a division by zero that cannot be; what is called once is compiled once, in its place
_inner = njit(cache=True, error_model="numpy")
_once = njit(cache=True, error_model="numpy", inline="always")


@_inner
def _end_trade(state: Floats, book: Floats, trades: Floats, s: int, t: int, price: float, reason: float) -> None:
    row = int(book[_TRADES])
    book[_TRADES] += 1.0
    if row < len(trades):
        out = trades[row]
        out[0], out[1], out[2], out[3] = s, state[s, _OPENED], t, state[s, _PEAK]
        out[4], out[5], out[6] = state[s, _ENTRY], price, state[s, _FLOW]
        out[7], out[8], out[9] = state[s, _FEES], state[s, _FUNDING], reason


@_inner
def _fill(
    state: Floats, book: Floats, trades: Floats, p: Floats, s: int, t: int, delta: float, base: float, slip: float, fee: float,
    reason: float,
) -> None:  # fmt: skip
    """Buy or sell ``delta`` units at ``base`` moved against us by ``slip``; never through zero (a turn is two fills)."""
    held = state[s, _UNITS]
    price = base * (1.0 + slip) if delta > 0.0 else base * (1.0 - slip)
    paid = abs(delta) * price * fee
    book[_CASH] -= delta * price + paid
    book[_FEE_SUM] += paid
    book[_SLIP_SUM] += abs(delta) * abs(price - base)
    book[_TRADED] += abs(delta) * price
    book[_ORDERS] += 1.0
    if held == 0.0:
        state[s, _ENTRY], state[s, _OPENED], state[s, _PEAK] = price, t, delta
        state[s, _FLOW], state[s, _FEES], state[s, _FUNDING] = 0.0, 0.0, 0.0
        side = 1.0 if delta > 0.0 else -1.0
        state[s, _STOP] = price * (1.0 - side * p[6])
        state[s, _TAKE] = price * (1.0 + side * p[7])
    state[s, _FLOW] -= delta * price + paid
    state[s, _FEES] += paid
    left = 0.0 if delta == -held else held + delta
    state[s, _UNITS] = left
    if abs(left) > abs(state[s, _PEAK]):
        state[s, _PEAK] = left
    if left == 0.0:
        _end_trade(state, book, trades, s, t, price, reason)
        if reason != _RULE:
            state[s, _BARRED] = 1.0 if held > 0.0 else -1.0


@_inner
def _liquidate(
    state: Floats, book: Floats, trades: Floats, p: Floats, t: int, start: Floats, adverse: Floats, part: float, slip: Floats
) -> None:  # fmt: skip
    """Close everything ``part`` of the way from ``start`` prices to ``adverse`` ones; a debt that is left is the exchange's."""
    for s in range(len(state)):
        held = state[s, _UNITS]
        if held != 0.0:
            price = start[s] + part * (adverse[s] - start[s])
            _fill(state, book, trades, p, s, t, -held, price, slip[s], p[3] + p[9], _LIQUIDATED)
    if book[_CASH] < 0.0:
        book[_FORGIVEN] -= book[_CASH]
        book[_CASH] = 0.0


@_inner
def _margin(state: Floats, book: Floats, prices: Floats, maintenance: float) -> float:
    """Equity above the maintenance margin at ``prices``; positive infinity without positions."""
    left, held = book[_CASH], False
    for s in range(len(state)):
        units = state[s, _UNITS]
        if units != 0.0:
            held = True
            left += units * prices[s] - maintenance * abs(units) * prices[s]
    return left if held else np.inf


@_once
def _open_events(
    state: Floats, book: Floats, trades: Floats, p: Floats, t: int, here: NDArray[np.bool_], start: Floats, slip: Floats, guarded: bool
) -> None:  # fmt: skip
    for s in range(len(state)):
        held = state[s, _UNITS]
        if held == 0.0 or not here[s]:
            continue
        side = 1.0 if held > 0.0 else -1.0
        if p[6] > 0.0 and side * (start[s] - state[s, _STOP]) <= 0.0:
            _fill(state, book, trades, p, s, t, -held, start[s], slip[s], p[3], _STOPPED)
        elif p[7] > 0.0 and side * (start[s] - state[s, _TAKE]) >= 0.0:
            _fill(state, book, trades, p, s, t, -held, state[s, _TAKE], 0.0, p[2], _TAKEN)
    if guarded and _margin(state, book, start, p[8]) <= 0.0:
        _liquidate(state, book, trades, p, t, start, start, 0.0, slip)


@_once
def _inner_events(
    state: Floats, book: Floats, trades: Floats, p: Floats, t: int, here: NDArray[np.bool_], start: Floats, low: Floats, high: Floats,
    adverse: Floats, slip: Floats, guarded: bool,
) -> None:  # fmt: skip
    symbols = len(state)
    for s in range(symbols):
        adverse[s] = start[s]
        if here[s] and state[s, _UNITS] != 0.0:
            adverse[s] = low[t, s] if state[s, _UNITS] > 0.0 else high[t, s]
    while True:
        first, where = -1, 2.0
        if p[6] > 0.0:
            for s in range(symbols):
                held = state[s, _UNITS]
                if held == 0.0 or not here[s]:
                    continue
                side = 1.0 if held > 0.0 else -1.0
                if side * (adverse[s] - state[s, _STOP]) <= 0.0:
                    way = adverse[s] - start[s]
                    part = min(max((state[s, _STOP] - start[s]) / way, 0.0), 1.0) if way != 0.0 else 0.0
                    if part < where:
                        first, where = s, part
        if guarded:
            now, then = _margin(state, book, start, p[8]), _margin(state, book, adverse, p[8])
            if then <= 0.0:
                part = 0.0 if now <= 0.0 else now / (now - then)
                if part < where:
                    _liquidate(state, book, trades, p, t, start, adverse, part, slip)
                    return
        if first < 0:
            break
        _fill(state, book, trades, p, first, t, -state[first, _UNITS], state[first, _STOP], slip[first], p[3], _STOPPED)
    if p[7] > 0.0:
        for s in range(symbols):
            held = state[s, _UNITS]
            if held == 0.0 or not here[s]:
                continue
            best = high[t, s] if held > 0.0 else low[t, s]
            side = 1.0 if held > 0.0 else -1.0
            if side * (best - state[s, _TAKE]) >= 0.0:
                _fill(state, book, trades, p, s, t, -held, state[s, _TAKE], 0.0, p[2], _TAKEN)


@_once
def _order(
    state: Floats, book: Floats, trades: Floats, p: Floats, weights: Floats, s: int, t: int, purse: float, start: Floats, slip: float,
    reductions: bool, either: bool,
) -> None:  # fmt: skip
    """Act on the decision for one symbol if it is (or is not) a reduction, or ``either``; ``purse``: equity at the open, before orders."""
    wanted, held = state[s, _WANTED], state[s, _UNITS]
    side = 0.0 if wanted == 0.0 else (1.0 if wanted > 0.0 else -1.0)
    if state[s, _BARRED] != 0.0:
        if side == state[s, _BARRED]:
            state[s, _ACTED] = wanted
            return
        state[s, _BARRED] = 0.0
    unit = start[s] * (1.0 + slip) * (1.0 + p[3])
    aim = wanted * weights[s] * p[1] * purse / unit
    others = 0.0
    for k in range(len(state)):
        if k != s:
            others += abs(state[k, _UNITS]) * start[k]
    limit = max((p[1] * purse - others) / unit, 0.0)
    if abs(aim) > limit:
        aim = limit if aim > 0.0 else -limit
    smaller = aim == 0.0 or (aim * held > 0.0 and abs(aim) <= abs(held))
    if smaller != reductions and not either:
        return
    state[s, _ACTED] = wanted
    if aim * held < 0.0:
        _fill(state, book, trades, p, s, t, -held, start[s], slip, p[3], _RULE)
        held = 0.0
    if aim != held:
        _fill(state, book, trades, p, s, t, -held if aim == 0.0 else aim - held, start[s], slip, p[3], _RULE)


@_once
def _orders(
    state: Floats, book: Floats, trades: Floats, p: Floats, weights: Floats, t: int, here: NDArray[np.bool_], start: Floats, slip: Floats
) -> None:
    """Fill what was decided and not yet acted on, of the symbols that have a bar; an account without equity makes no orders."""
    purse = book[_CASH]
    for s in range(len(state)):
        purse += state[s, _UNITS] * start[s]
    turns = 2 if len(state) > 1 else 1
    for turn in range(turns):
        for s in range(len(state)):
            if here[s] and state[s, _WANTED] != state[s, _ACTED]:
                if purse > 0.0:
                    _order(state, book, trades, p, weights, s, t, purse, start, slip[s], turn == 0, turns == 1)
                else:
                    state[s, _ACTED] = state[s, _WANTED]


@_once
def _bounds(state: Floats, cash: float, p: Floats, guarded: bool) -> tuple[float, float]:
    """Prices of the only symbol between which nothing can happen to its position; a little too narrow, for rounding."""
    held = state[0, _UNITS]
    below, beyond = -np.inf, np.inf
    if held > 0.0:
        if p[6] > 0.0:
            below = state[0, _STOP]
        if p[7] > 0.0:
            beyond = state[0, _TAKE]
        if guarded:
            below = max(below, -cash / (held * (1.0 - p[8])) * (1.0 - 1e-9 if cash > 0.0 else 1.0 + 1e-9))
    elif held < 0.0:
        if p[6] > 0.0:
            beyond = state[0, _STOP]
        if p[7] > 0.0:
            below = state[0, _TAKE]
        if guarded:
            beyond = min(beyond, cash / (-held * (1.0 + p[8])) * (1.0 - 1e-9))
    return below, beyond


@_once
def _quiet(
    state: Floats, cash: float, p: Floats, watched: bool, guarded: bool, t: int, stop: int, high: Floats, low: Floats, close: Floats,
    target: Floats, equity: Floats,
) -> int:  # fmt: skip
    """Walk the only symbol (arrays ``(bars,)``) from bar ``t`` to the bar of an event, or the one after a new decision.

    Bars are looked at in stretches that the compiler can turn into vector instructions, and one by one only where something happens.
    """
    held, wanted = state[0, _UNITS], state[0, _WANTED]
    watching = watched and held != 0.0
    below, beyond = _bounds(state, cash, p, guarded) if watching else (-np.inf, np.inf)
    end, done = t, False
    while end < stop and not done:
        far = min(end + _STRETCH, stop)
        part, odd = target[end:far], 0
        if watching:
            lows, highs = low[end:far], high[end:far]
            for k in range(part.size):
                odd += (lows[k] <= below) | (highs[k] >= beyond) | (part[k] != wanted)
        else:
            for k in range(part.size):
                odd += part[k] != wanted
        if odd == 0:
            end = far
            continue
        while end < far and not done:
            if watching and (low[end] <= below or high[end] >= beyond):
                done = True
                break
            new = target[end]
            end += 1
            if new != wanted and new == new:
                state[0, _WANTED] = new
                done = True
    if held == 0.0:
        equity[t:end] = cash
    else:
        values, closes = equity[t:end], close[t:end]
        for k in range(values.size):
            values[k] = cash + held * closes[k]
    if end > t:
        state[0, _MARK] = close[end - 1]
    return end


@njit(cache=True, error_model="numpy")
def carry_on(
    open_: Floats, high: Floats, low: Floats, close: Floats, target: Floats, weights: Floats, volatility: Floats,
    due: NDArray[np.int64], rates: Floats, p: Floats, guarded: bool, equity: Floats, cash: Floats, units: Floats, trades: Floats,
    state: Floats, book: Floats, first: int,
) -> None:  # fmt: skip
    """`walk` from bar ``first`` on, with an account that stands as ``state`` ``(symbols, STATE)`` and ``book`` ``(BOOK,)`` say.

    Both are moved on in place, so that bars may be told one at a time: rows before ``first`` are there for what is known at its open.
    """
    bars, symbols = open_.shape
    here = np.zeros(symbols, np.bool_)
    start, slip, adverse = np.zeros(symbols), np.zeros(symbols), np.zeros(symbols)
    ledger, moving = len(cash) > 0, len(volatility) > 0
    watched = guarded or p[6] > 0.0 or p[7] > 0.0
    # without a second axis of unknown stride
    highs, lows, closes, targets = high.reshape(high.size), low.reshape(low.size), close.reshape(close.size), target.reshape(target.size)
    next_due, t = 0, first
    while t < bars:
        while next_due < len(due) and due[next_due] < t:
            next_due += 1
        falls_due = bars if next_due == len(due) else due[next_due]
        if symbols == 1 and state[0, _WANTED] == state[0, _ACTED] and falls_due > t:
            # nothing to do at the open: on to the next event in a loop that touches no more than it must
            end = _quiet(state, book[_CASH], p, watched, guarded, t, min(bars, falls_due), highs, lows, closes, targets, equity)
            if state[0, _UNITS] != 0.0:
                book[_IN_MARKET] += end - t
            if ledger:
                cash[t:end] = book[_CASH]
                units[t:end, 0] = state[0, _UNITS]
            if end > t:
                t = end
                continue
        pending, holding = False, False
        for s in range(symbols):
            pending = pending or state[s, _WANTED] != state[s, _ACTED]
            holding = holding or state[s, _UNITS] != 0.0
            here[s] = open_[t, s] == open_[t, s]
            start[s] = open_[t, s] if here[s] else state[s, _MARK]
        if holding and falls_due == t:
            for s in range(symbols):
                paid = state[s, _UNITS] * start[s] * rates[next_due, s]
                book[_CASH] -= paid
                book[_FUND_SUM] += paid
                state[s, _FLOW] -= paid
                state[s, _FUNDING] += paid
        if pending or (holding and watched):
            for s in range(symbols):
                slip[s] = min(p[4] + p[5] * volatility[t - 1, s], 0.5) if moving and t > 0 else p[4]
            if holding and watched:
                _open_events(state, book, trades, p, t, here, start, slip, guarded)
            if pending:
                _orders(state, book, trades, p, weights, t, here, start, slip)
            if watched:
                _inner_events(state, book, trades, p, t, here, start, low, high, adverse, slip, guarded)
        value, holding = book[_CASH], False
        for s in range(symbols):
            if here[s]:
                state[s, _MARK] = close[t, s]
            held = state[s, _UNITS]
            if held != 0.0:
                value += held * state[s, _MARK]
                holding = True
            if target[t, s] == target[t, s]:
                state[s, _WANTED] = target[t, s]
            if ledger:
                units[t, s] = held
        if ledger:
            cash[t] = book[_CASH]
        if holding:
            book[_IN_MARKET] += 1.0
        equity[t] = value
        t += 1


@njit(cache=True, error_model="numpy")
def walk(
    open_: Floats, high: Floats, low: Floats, close: Floats, target: Floats, weights: Floats, volatility: Floats,
    due: NDArray[np.int64], rates: Floats, p: Floats, guarded: bool, equity: Floats, cash: Floats, units: Floats, trades: Floats,
) -> Floats:  # fmt: skip
    """Run an account over ``(bars, symbols)`` candles on one grid (NaN where a symbol has no bar); returns `TOTALS`.

    ``target``: what was decided at each close, in [-1, 1] (NaN: as before). ``volatility`` ``(bars, symbols)``, or without rows.
    ``rates`` ``(k, symbols)``: funding due at the open of bars ``due`` ``(k,)``, rising. ``guarded``: whether a position can fall below its
    margin. ``equity`` ``(bars,)`` is filled; ``cash`` ``(bars,)`` and ``units`` ``(bars, symbols)`` where they have rows; ``trades``
    ``(most, columns)`` as far as it has rows.
    """
    bars, symbols = open_.shape
    state, book = np.zeros((symbols, STATE)), np.zeros(BOOK)
    book[_CASH] = p[0]
    carry_on(
        open_, high, low, close, target, weights, volatility, due, rates, p, guarded, equity, cash, units, trades, state, book, 0
    )  # fmt: skip
    for s in range(symbols):
        held = state[s, _UNITS]
        if held != 0.0:
            state[s, _FLOW] += held * state[s, _MARK]
            _end_trade(state, book, trades, s, bars - 1, state[s, _MARK], _STILL_OPEN)
    return book[1:]
