"""Drift of inputs: how far the newest bars' features lie from those of the train range, as the population stability index (PSI).

A bundle holds the deciles of each base feature on its train range, and how far windows of the same length lie from the whole *within* it:
a slow feature is far from its average in any short window, which is no drift. The calendar is left out.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import BundleError
from candelabra.windows.series import Series

__all__ = ["DRIFT_FILE", "WINDOW", "Drift", "input_edges", "psi", "read_edges", "write_edges"]

DRIFT_FILE: Final = "inputs.json"
WINDOW: Final = 500
"""Bars of a window that is compared with the train range."""
LARGE: Final = 0.25
"""What a PSI is called large from on, by convention."""
_BINS: Final = 10
_LEAST: Final = 0.005
_CALENDAR: Final = ("hour", "weekday", "week", "weekend", "month")
_FORM: Final = 1
Floats = NDArray[np.float64]


def psi(expected: ArrayLike, counts: ArrayLike) -> float:
    """Sum over bins of (p - q) log(p / q), with shares of half a percent at least so that an empty bin is not infinite.

    >>> psi([0.5, 0.5], [50, 50]), round(psi([0.5, 0.5], [90, 10]), 3)
    (0.0, 0.879)
    """
    q, n = np.maximum(np.asarray(expected, np.float64), _LEAST), np.asarray(counts, np.float64)
    if not n.sum():
        return math.nan
    p = np.maximum(n / n.sum(), _LEAST)
    return float(np.sum((p / p.sum() - q / q.sum()) * np.log((p / p.sum()) / (q / q.sum()))))


def input_edges(series: Sequence[Series], train_rows: Sequence[NDArray[np.int64]], window: int = WINDOW) -> dict[str, Any]:
    """Per base feature: bin ``edges``, ``shares`` of train rows in them, ``usual``: what the PSI of 95 % of windows in train is below."""
    found: dict[str, Any] = {}
    tables = [one.features[one.base.name] for one in series]
    for k, name in enumerate(tables[0].names):
        if any(word in name for word in _CALENDAR):
            continue
        parts = [t.values[rows, k].astype(np.float64) for t, rows in zip(tables, train_rows, strict=True)]
        parts = [p[np.isfinite(p)] for p in parts]
        whole = np.concatenate(parts)
        if len(whole) < 2 * _BINS:
            continue
        edges = np.unique(np.quantile(whole, np.arange(1, _BINS) / _BINS))
        shares = _counts(whole, edges) / len(whole)
        step = max(1, window // 4)
        usual = [psi(shares, _counts(p[a : a + window], edges)) for p in parts for a in range(0, max(1, len(p) - window + 1), step)]
        found[name] = {"edges": edges.tolist(), "shares": shares.tolist(), "usual": float(np.quantile(usual, 0.95))}
    return {"form": _FORM, "window": window, "features": found}


def write_edges(folder: Path, edges: Mapping[str, Any]) -> None:
    """Into a bundle's draft."""
    (folder / DRIFT_FILE).write_text(json.dumps(edges, indent=1, allow_nan=False), encoding="utf-8")


def read_edges(bundle: Path) -> dict[str, Any] | None:
    """What a bundle holds of its inputs; None where it was sealed before it held any, BundleError where it is damaged."""
    path = bundle / DRIFT_FILE
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if values["form"] != _FORM:
            raise BundleError(f"{path} has form {values['form']}, this version reads {_FORM}: train again")
        for one in values["features"].values():
            if len(one["shares"]) != len(one["edges"]) + 1:
                raise ValueError("bins and edges do not fit")
        return values
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}): restore the sealed bundle") from error


class Drift:
    """The features of the newest bars of one symbol, in the bins of the train range; begins with those that ``series`` holds."""

    def __init__(self, edges: Mapping[str, Any], base: str, series: Series | None = None) -> None:
        self._base, self._window = base, int(edges["window"])
        self._features: dict[str, Any] = dict(edges["features"])
        self._edges = {name: np.array(one["edges"]) for name, one in self._features.items()}
        self._bins: deque[list[int]] = deque(maxlen=self._window)
        if series is not None:
            for row in range(max(0, len(series) - self._window), len(series)):
                self.add(series, row)

    def add(self, series: Series, at: int = -1) -> None:
        """A base bar of a series, the newest one by default."""
        table = series.features[self._base]
        place = {name: k for k, name in enumerate(table.names)}
        newest = table.values[at]
        row = []
        for name, edges in self._edges.items():
            value = float(newest[place[name]]) if name in place else math.nan
            row.append(int(np.searchsorted(edges, value, "right")) if math.isfinite(value) else -1)
        self._bins.append(row)

    @property
    def names(self) -> tuple[str, ...]:
        """The features that are watched."""
        return tuple(self._edges)

    @property
    def bars(self) -> int:
        """How many bars are compared."""
        return len(self._bins)

    def figures(self) -> dict[str, float]:
        """PSI by feature, the largest first; none until half a window is there."""
        if len(self._bins) < self._window // 2:
            return {}
        table = np.array(self._bins)
        found = {}
        for k, name in enumerate(self._edges):
            known = table[:, k][table[:, k] >= 0]
            found[name] = psi(self._features[name]["shares"], np.bincount(known, minlength=len(self._edges[name]) + 1))
        return dict(sorted(found.items(), key=lambda one: -one[1] if one[1] == one[1] else 0.0))

    def drifted(self) -> dict[str, float]:
        """The features that lie farther off than `LARGE` and than 95 % of such windows in the train range did."""
        return {name: value for name, value in self.figures().items() if value > max(LARGE, float(self._features[name]["usual"]))}


def _counts(values: Floats, edges: Floats) -> NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, values, "right"), minlength=len(edges) + 1)
