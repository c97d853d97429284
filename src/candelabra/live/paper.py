"""`Paper`: an account on paper that follows a rule bar by bar, by the compiled account and the rules of the backtest. No real orders.

One account a symbol. It opens, flat, with the first bar it is told of; told bar by bar, and after any restart, it is to the bit what
`trading.backtest.backtest` makes of the same bars and decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.bundles.predictor import Prediction
from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError
from candelabra.trading.account import Account
from candelabra.trading.backtest import funding_due
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.grid import Grid
from candelabra.trading.kernel import BOOK, COLUMNS, REASONS, STATE, TOTALS, TRADE_COLUMNS, carry_on
from candelabra.trading.rules import Rule, next_position

__all__ = ["Paper", "PaperBar"]

Floats = NDArray[np.float64]
MEMORY: Final = 256
"""How many forecasts a rule may look back on: those of the project look at the newest alone."""
_MOST_TRADES: Final = 4
_TRADES: Final = 1 + TOTALS.index("trades")


@dataclass(frozen=True)
class PaperBar:
    """Where the account stands at a close: ``units`` held, ``cash``, ``equity``, and the position it wants next (``target``, in [-1, 1]).

    ``trades``: those that ended in the bar, as `trading.backtest.Trade` has them, with times (ms) for bars.
    """

    as_of_ms: int
    target: float
    units: float
    cash: float
    equity: float
    trades: tuple[dict[str, Any], ...]


class Paper:
    """One symbol's account under a rule; `save` and `resume` carry it over a restart."""

    def __init__(self, symbol: str, base: Timeframe, rule: Rule, account: Account) -> None:
        self.symbol, self._base, self.rule, self.account = symbol, base, rule, account
        self._state, self._book = np.zeros((1, STATE)), np.zeros(BOOK)
        self._book[0] = account.purse
        self._side = np.zeros(2)
        self._bar: tuple[float, ...] | None = None
        self._open_ms, self._volatility = 0, 0.0
        self._seen: Forecasts | None = None

    @property
    def equity(self) -> float:
        """At the newest close."""
        return float(self._book[0] + self._state[0, COLUMNS["units"]] * self._state[0, COLUMNS["mark"]])

    @property
    def fees(self) -> float:
        """Paid so far."""
        return float(self._book[1 + TOTALS.index("fees")])

    def step(self, candles: Candles, prediction: Prediction | None) -> PaperBar:
        """One more base bar has closed: what was wanted is filled at its open, and a new position decided at its close.

        ``candles``: that bar alone. DataError where it does not come after the one before.
        """
        if (
            len(candles) != 1
            or int(candles.open_time[0]) < self._open_ms
            or (self._bar is not None and candles.open_time[0] == self._open_ms)
        ):
            raise DataError(f"{self.symbol}: a paper account is told one bar at a time, each once and in order")
        now = tuple(float(column[0]) for column in candles.values()[:4])
        wanted = self._decide(int(candles.close_time[0]), prediction)
        both = [now] if self._bar is None else [self._bar, now]
        first = len(both) - 1
        times = np.array([int(candles.open_time[0])] if self._bar is None else [self._open_ms, int(candles.open_time[0])], np.int64)
        prices = [np.array([bar[k] for bar in both]) for k in range(4)]
        lost = np.zeros(len(both), np.int32)
        grid = Grid.of(Candles.sealed(self.symbol, self._base, times, [*prices, np.zeros(len(both))], lost, self._base))
        due, rates = funding_due(grid, self.account)
        target = np.full((len(both), 1), np.nan)
        target[first] = wanted
        moving = np.array([[self._volatility]] * len(both)) if self.account.slippage_volatility > 0.0 else np.zeros((0, 1))
        equity, cash, units = np.empty(len(both)), np.empty(len(both)), np.empty((len(both), 1))
        trades = np.empty((_MOST_TRADES, len(TRADE_COLUMNS)))
        counted, self._book[_TRADES] = self._book[_TRADES], 0.0
        columns = (grid.open, grid.high, grid.low, grid.close, target, np.ones(1), moving, due, rates, self.account.vector(), True)
        before = self._state[0, COLUMNS["units"]]
        carry_on(*columns, equity, cash, units, trades, self._state, self._book, first)
        ended = trades[: int(self._book[_TRADES])]
        self._book[_TRADES] += counted
        if self._state[0, COLUMNS["units"]] != 0.0 and (before == 0.0 or len(ended)):
            self._state[0, COLUMNS["opened"]] = float(times[first])  # by time, since a bar has no number here
        told = tuple(self._told(row, first, int(times[first]), int(candles.close_time[0])) for row in ended)
        self._bar, self._open_ms = now, int(times[first])
        scale = self._scale(prediction)
        self._volatility = self._volatility if math.isnan(scale) else scale
        return PaperBar(int(candles.close_time[0]), wanted, float(units[first, 0]), float(cash[first]), float(equity[first]), told)

    def save(self) -> dict[str, Any]:
        """Where it stands, as JSON values; floats keep their bits."""
        seen = self._seen
        return {
            "state": self._state.tolist(), "book": self._book.tolist(), "side": self._side.tolist(), "bar": self._bar,
            "open_ms": self._open_ms, "volatility": self._volatility, "account": self.account.as_dict(),
            "seen": None if seen is None or self._short_memory else _plain(seen),
        }  # fmt: skip

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Stand where an account was saved; the rule and the costs are those it was made with now."""
        self._state, self._book = np.array(saved["state"]), np.array(saved["book"])
        self._side, self._bar = np.array(saved["side"]), None if saved["bar"] is None else tuple(saved["bar"])
        self._open_ms, self._volatility = int(saved["open_ms"]), float(saved["volatility"])
        if saved["seen"] is not None:
            self._seen = _forecasts(saved["seen"])

    @property
    def _short_memory(self) -> bool:
        """Whether the rule is one of the project's, which look at each bar's own forecast alone."""
        return type(self.rule).__module__ == "candelabra.trading.rules"

    def _decide(self, close_ms: int, prediction: Prediction | None) -> float:
        row = self._row(close_ms, prediction)
        if row is None:
            self._side[:] = 0.0  # nothing is known: flat, as `follow` has it
            return 0.0
        memory = 1 if self._short_memory else MEMORY
        self._seen = row if self._seen is None or memory == 1 else _joined(self._seen, row, memory)
        return next_position(self.rule.plan(self._seen, self.account.per_side), self._side)

    def _row(self, close_ms: int, prediction: Prediction | None) -> Forecasts | None:
        if prediction is None:
            if self._seen is None or self._short_memory:
                return None
            blank = self._seen.rows(slice(-1, None))
            mean, volatility, quantiles = (np.full_like(x, np.nan) for x in (blank.mean, blank.volatility, blank.quantiles))
            return Forecasts(np.array([close_ms], np.int64), blank.horizons, mean, volatility, quantiles, blank.levels)
        return Forecasts(
            np.array([close_ms], np.int64), tuple(timeframe(h) for h in prediction.horizons), np.array([prediction.mean]),
            np.array([prediction.volatility]), np.array([prediction.quantiles]), tuple(prediction.levels),
        )  # fmt: skip

    def _scale(self, prediction: Prediction | None) -> float:
        row = self._row(0, prediction) if prediction is not None else None
        return math.nan if row is None else float(row.bar_volatility(self._base)[0])

    def _told(self, row: Floats, first: int, open_ms: int, close_ms: int) -> dict[str, Any]:
        values = dict(zip(TRADE_COLUMNS, row.tolist(), strict=True))
        opened = open_ms if int(values["opened"]) == first else int(values["opened"])
        names = {"symbol": self.symbol, "opened": opened, "closed": close_ms, "reason": REASONS[int(values["reason"])]}
        return values | names


def _plain(seen: Forecasts) -> dict[str, Any]:
    return {
        "close_time": seen.close_time.tolist(), "horizons": [h.name for h in seen.horizons], "mean": seen.mean.tolist(),
        "volatility": seen.volatility.tolist(), "quantiles": seen.quantiles.tolist(), "levels": list(seen.levels),
    }  # fmt: skip


def _forecasts(values: Mapping[str, Any]) -> Forecasts:
    mean, volatility, quantiles = (np.array(values[name], np.float64) for name in ("mean", "volatility", "quantiles"))
    horizons = tuple(timeframe(h) for h in values["horizons"])
    return Forecasts(np.array(values["close_time"], np.int64), horizons, mean, volatility, quantiles, tuple(values["levels"]))


def _joined(before: Forecasts, row: Forecasts, memory: int) -> Forecasts:
    if before.horizons != row.horizons:  # another bundle has taken over
        return row
    kept = before.rows(slice(-(memory - 1), None))
    pairs = ((kept.mean, row.mean), (kept.volatility, row.volatility), (kept.quantiles, row.quantiles))
    mean, volatility, quantiles = (np.concatenate(pair) for pair in pairs)
    return Forecasts(np.concatenate([kept.close_time, row.close_time]), row.horizons, mean, volatility, quantiles, row.levels)
