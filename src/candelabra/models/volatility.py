"""Volatility forecasts that are arithmetic, not networks: constant, linear in features, and GARCH filtered forward.

Each is a small value: ``log_volatility(series, rows)`` gives float64 ``(rows, horizons)``, ``to_json`` gives all there is to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.models.tabular import columns, warm_up
from candelabra.windows.series import Series

__all__ = ["ConstantVolatility", "GarchVolatility", "LinearVolatility", "Volatility", "volatility_from_json"]

Floats = NDArray[np.float64]


class Volatility(Protocol):
    """A fitted forecast of log realised volatility."""

    @property
    def responds(self) -> bool:
        """Whether candles can move it."""
        ...

    def log_volatility(self, series: Series, rows: NDArray[np.int64]) -> Floats:
        """Forecasts ``(rows, horizons)``; NaN without enough history."""
        ...

    def warm_up(self, base: Timeframe) -> int:
        """Base bars needed before a row."""
        ...

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Everything there is to it; what JSON cannot hold is written into ``folder``."""
        ...


@dataclass(frozen=True, eq=False)
class ConstantVolatility:
    """The same log volatility at every bar: ``values`` ``(horizons,)``."""

    values: Floats
    responds: bool = False

    def log_volatility(self, series: Series, rows: NDArray[np.int64]) -> Floats:
        """The constants, once a row."""
        return np.broadcast_to(self.values, (len(rows), len(self.values))).copy()

    def warm_up(self, base: Timeframe) -> int:
        """None."""
        return 0

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Its constants."""
        return {"kind": "constant", "values": self.values.tolist()}


@dataclass(frozen=True, eq=False)
class LinearVolatility:
    """``intercept[h] + sum of weight x feature``: ``terms[h]`` maps feature specs to weights."""

    intercept: Floats
    terms: tuple[Mapping[str, float], ...]
    responds: bool = True

    @property
    def specs(self) -> tuple[str, ...]:
        """Every feature it reads."""
        return tuple(dict.fromkeys(spec for terms in self.terms for spec in terms))

    def log_volatility(self, series: Series, rows: NDArray[np.int64]) -> Floats:
        """Forecasts ``(rows, horizons)``; NaN where a feature is."""
        specs = self.specs
        weights = np.array([[terms.get(spec, 0.0) for terms in self.terms] for spec in specs])
        table = columns(series, specs, rows).astype(np.float64)
        # One fixed order of additions, so that one row gives to the bit what it gives among many.
        out = np.tile(self.intercept, (len(rows), 1))
        for place in range(len(specs)):
            used = weights[place] != 0
            out[:, used] += table[:, place : place + 1] * weights[place, used]
        return out

    def warm_up(self, base: Timeframe) -> int:
        """The longest memory of its features."""
        return warm_up(base, self.specs)

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Intercepts and weights."""
        return {"kind": "linear", "intercept": self.intercept.tolist(), "terms": [dict(t) for t in self.terms]}


@dataclass(frozen=True, eq=False)
class GarchVolatility:
    """GARCH(1,1) filtered forward with fixed parameters, summed over the horizon (Bollerslev 1986).

    ``parameters[symbol]`` = (omega, alpha, beta) of one bar's log return, ``""`` for symbols not trained on; ``steps``: horizons in
    bars; ``bias`` ``(horizons,)`` added to the log (the mean of log realised volatility lies below the log of its mean).
    """

    parameters: Mapping[str, tuple[float, float, float]]
    steps: tuple[int, ...]
    bias: Floats
    responds: bool = True

    def log_volatility(self, series: Series, rows: NDArray[np.int64]) -> Floats:
        """Forecasts ``(rows, horizons)``; NaN for the first bars."""
        omega, alpha, beta = self.parameters.get(series.symbol, self.parameters[""])
        log_close = np.log(series.base_candles.close)
        following = filter_variance(np.diff(log_close, prepend=log_close[:1]), omega, alpha, beta)[rows]
        persistence = alpha + beta
        long_run = omega / (1 - persistence)
        steps = np.array(self.steps, np.float64)
        total = steps * long_run + (following[:, None] - long_run) * (1 - persistence**steps) / (1 - persistence)
        out: Floats = 0.5 * np.log(total) + self.bias
        out[rows < FIRST_GARCH_BAR] = np.nan
        return out

    def warm_up(self, base: Timeframe) -> int:
        """Bars after which the start no longer counts (its share fell below 1e-6)."""
        persistence = max(a + b for _, a, b in self.parameters.values())
        return max(FIRST_GARCH_BAR, int(np.ceil(np.log(1e-6) / np.log(persistence))))

    def to_json(self, folder: Path) -> dict[str, Any]:
        """Parameters only; the state is filtered from the candles."""
        parameters = {k: list(v) for k, v in self.parameters.items()}
        return {"kind": "garch", "parameters": parameters, "steps": list(self.steps), "bias": self.bias.tolist()}


FIRST_GARCH_BAR = 100


@njit(cache=True)
def filter_variance(returns: Floats, omega: float, alpha: float, beta: float) -> Floats:
    """Variance forecast for the bar after each bar, given fixed GARCH(1,1) parameters; starts at the long-run variance."""
    out = np.empty(len(returns))
    variance = omega / (1 - alpha - beta)
    for t in range(len(returns)):
        if t > 0:
            variance = omega + alpha * returns[t] * returns[t] + beta * variance
        out[t] = variance
    return out


def volatility_from_json(values: Mapping[str, Any], folder: Path) -> Volatility:
    """The forecast that ``to_json`` wrote."""
    kind = values["kind"]
    if kind == "constant":
        return ConstantVolatility(np.array(values["values"]))
    if kind == "linear":
        return LinearVolatility(np.array(values["intercept"]), tuple(values["terms"]))
    if kind == "garch":
        parameters = {k: (float(v[0]), float(v[1]), float(v[2])) for k, v in values["parameters"].items()}
        return GarchVolatility(parameters, tuple(values["steps"]), np.array(values["bias"]))
    from candelabra.models.trees import TreeVolatility

    return TreeVolatility.from_json(values, folder)
