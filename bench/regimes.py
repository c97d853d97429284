"""Regime items: labels made with hindsight."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench import market
from bench.item import Goal, Item, Reading, Tool
from bench.timing import cpu_seconds, digest

_SHORTEST, _LONGEST = 5, 59
_COMPARED = 1_000
"""Rows whose t-values are sealed."""


def _prices(count: int) -> Any:
    return np.log(market.columns(count)["close"])


def _scan(small: bool) -> dict[str, Reading]:
    from candelabra.regimes.trend_scan import trend_scan

    prices = _prices(market.rows(small))
    t_value, length = trend_scan(prices, _SHORTEST, _LONGEST)
    seal = digest(t_value[:_COMPARED], length[:_COMPARED], digits=6)
    seconds = cpu_seconds(lambda: trend_scan(prices, _SHORTEST, _LONGEST), 3)
    return {"": Reading(len(prices) / seconds, "bars/CPU s", seal, f"{1e5 * seconds / len(prices):.3f} CPU s per 100k bars")}


def _loop(small: bool) -> dict[str, Reading]:
    """As it is published (Lopez de Prado 2020, snippets 5.1 and 5.2): a least-squares fit for every bar and every length."""
    prices = _prices(market.rows(small))[: _COMPARED + _LONGEST - 1]

    def scan() -> tuple[Any, Any]:
        best, lengths = np.zeros(_COMPARED), np.zeros(_COMPARED, np.int32)
        for t in range(_COMPARED):
            largest = -1.0
            for count in range(_SHORTEST, _LONGEST + 1):
                x = np.ones((count, 2))
                x[:, 1] = np.arange(count)
                inverse = np.linalg.inv(x.T @ x)
                y = prices[t : t + count]
                beta = inverse @ (x.T @ y)
                error = y - x @ beta
                t_value = beta[1] / np.sqrt(error @ error / (count - 2) * inverse[1, 1])
                if abs(t_value) > largest:
                    largest, best[t], lengths[t] = abs(t_value), t_value, count
        return best, lengths

    best, lengths = scan()
    seconds = cpu_seconds(scan, 1, warm_up=0)
    return {"": Reading(_COMPARED / seconds, "bars/CPU s", digest(best, lengths, digits=6), f"{_COMPARED:,} bars, per bar")}


LABELLING = Item(
    "regimes/labelling",
    f"trend scanning over {_SHORTEST} to {_LONGEST} bars: the same t-values as a fit per bar and length",
    {"candelabra": Tool(_scan), "a fit per bar and length": Tool(_loop)},
    (Goal("candelabra", "", lambda v: v["candelabra"][""] / v["a fit per bar and length"][""], ">= 300"),),
    reference="a fit per bar and length",
)

ITEMS = (LABELLING,)
