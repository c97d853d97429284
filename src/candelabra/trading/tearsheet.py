"""The tear sheet of QuantStats, for those who know it: an optional extra, fed with daily returns."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from candelabra.errors import DataError, MissingExtraError
from candelabra.trading.backtest import Backtest

__all__ = ["daily", "require_quantstats", "write_tearsheet"]

_DAY_MS = 86_400_000


def require_quantstats() -> None:
    """MissingExtraError with the command that installs it, when QuantStats is not there."""
    if importlib.util.find_spec("quantstats") is None:
        raise MissingExtraError("quantstats", "quantstats", "the tear sheet")


def daily(run: Backtest) -> tuple[Any, Any]:
    """Days (UTC, datetime64[D]) and the net return of each, from the last close of each day; days without bars are left out."""
    day = (run.grid.close_time - 1) // _DAY_MS
    ends = np.append(np.flatnonzero(day[1:] != day[:-1]), len(day) - 1)
    equity = np.concatenate([[run.account.purse], run.equity[ends]])
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.where(equity[:-1] > 0.0, equity[1:] / equity[:-1] - 1.0, 0.0)
    return day[ends].astype("datetime64[D]"), returns


def write_tearsheet(run: Backtest, hold: Backtest, path: Path, title: str = "candelabra backtest") -> None:
    """Write QuantStats' HTML for a backtest beside buy-and-hold; whole or not at all. MissingExtraError without the extra."""
    require_quantstats()
    days, ours = daily(run)
    if len(days) < 10 or not np.any(ours):
        raise DataError(
            f"a tear sheet needs at least 10 days with returns, got {len(days)} days: backtest a longer range, or a rule that trades"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its libraries, about one another
        import matplotlib

        matplotlib.use("Agg")
        import pandas as pd
        import quantstats

        index = pd.DatetimeIndex(days)
        returns, benchmark = (
            pd.Series(values, index=index, name=name) for name, values in (("rule", ours), ("buy and hold", daily(hold)[1]))
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        try:
            report: Any = quantstats.reports.html  # untyped
            report(returns, benchmark=benchmark, output=str(draft), title=title, periods_per_year=365)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
