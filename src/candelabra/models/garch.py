"""Fitting GARCH(1,1) with Student-t innovations; forecasting with it needs no extra library (see `volatility`)."""

from __future__ import annotations

import numpy as np

from candelabra.errors import DataError, MissingExtraError
from candelabra.models.base import FitData
from candelabra.models.volatility import GarchVolatility

__all__ = ["garch"]

_LEAST_ROWS = 500
_LARGEST_PERSISTENCE = 0.9995
"""Keeps the long-run variance finite, and the memory of the filter under 30,000 bars."""


def garch(data: FitData) -> GarchVolatility:
    """Parameters by maximum likelihood on the train bars of each symbol, bias of the log from train.

    Raises MissingExtraError without the library ``arch``, DataError with fewer than 500 training bars.
    """
    try:
        from arch import arch_model
    except ImportError as error:
        raise MissingExtraError("arch", "baselines", "the GARCH baseline") from error
    parameters: dict[str, tuple[float, float, float]] = {}
    for series, rows in zip(data.series, data.train_rows, strict=True):
        if len(rows) < _LEAST_ROWS:
            continue
        # Every bar up to the last training row was known when training ended; nothing after it is read.
        returns = 100 * np.diff(np.log(series.base_candles.close[: int(rows[-1]) + 1]))
        fitted = arch_model(returns, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False).fit(disp="off", show_warning=False)
        omega, alpha, beta = (float(fitted.params[k]) for k in ("omega", "alpha[1]", "beta[1]"))
        excess = max(1.0, (alpha + beta) / _LARGEST_PERSISTENCE)
        parameters[series.symbol] = (omega / 1e4, alpha / excess, beta / excess)
    if not parameters:
        raise DataError(f"GARCH needs {_LEAST_ROWS} training bars of a symbol, the longest has {max(map(len, data.train_rows))}")
    middle = np.median(np.array(list(parameters.values())), axis=0)
    parameters[""] = (float(middle[0]), float(middle[1]), float(middle[2]))
    steps = data.targets[0].steps
    plain = GarchVolatility(parameters, steps, np.zeros(len(steps)))
    errors = [
        t.log_volatility[rows] - plain.log_volatility(s, rows)
        for s, t, rows in zip(data.series, data.targets, data.train_rows, strict=True)
    ]
    return GarchVolatility(parameters, steps, np.nanmean(np.concatenate(errors), axis=0))
