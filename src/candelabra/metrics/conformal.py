"""Intervals that cover what they promise: conformalised quantile regression, fixed (split) and adaptive.

Split conformal (Romano, Patterson and Candès 2019): on rows the model has not learned from, each central interval (tau, 1 - tau) is
scored by how far the outcome fell outside, E = max(q_low - y, y - q_high); moving both ends outward by the ceil((n + 1) c)-th smallest
score gives coverage of at least c on exchangeable data. Scores and moves are in units of the interval's own width unless
``normalised`` is off, since volatility varies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError
from candelabra.metrics.quantiles import central_pairs

__all__ = ["ConformalConstants", "apply", "fit", "monotone", "scores"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ConformalConstants:
    """How far to move each central interval, per horizon.

    ``levels``: the quantile levels it was fitted for. ``constants[h][p]``: move of both ends of the p-th interval of
    ``quantiles.central_pairs(levels)`` (widest first) at horizon h, in units of the interval's width if ``normalised``, else in the
    unit of the quantiles. ``rows[h]``: calibration rows behind it.
    """

    levels: tuple[float, ...]
    constants: tuple[tuple[float, ...], ...]
    rows: tuple[int, ...]
    normalised: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and numbers for JSON."""
        return {
            "levels": list(self.levels),
            "constants": [list(row) for row in self.constants],
            "rows": list(self.rows),
            "normalised": self.normalised,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ConformalConstants:
        """The inverse of `as_dict`."""
        return ConformalConstants(
            levels=tuple(float(x) for x in data["levels"]),
            constants=tuple(tuple(float(x) for x in row) for row in data["constants"]),
            rows=tuple(int(n) for n in data["rows"]),
            normalised=bool(data["normalised"]),
        )


def scores(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float], *, normalised: bool = True) -> Floats:
    """Conformity scores ``(..., pairs)`` of outcomes ``(...)`` for quantiles ``(..., levels)``: positive outside the interval.

    With ``normalised`` in widths of the interval; an interval of no width scores +-inf (0 when hit exactly). NaN where unknown.
    """
    q, y = np.asarray(quantiles, np.float64), np.asarray(actual, np.float64)
    pairs = central_pairs(levels)
    low, high = q[..., [p[0] for p in pairs]], q[..., [p[1] for p in pairs]]
    distance = np.maximum(low - y[..., None], y[..., None] - high)
    if not normalised:
        return np.asarray(distance)
    span = high - low
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = distance / span
    return np.asarray(np.where(distance == 0.0, 0.0, relative))


def _quantile_of_scores(values: Floats, coverage: float, what: str) -> float:
    n = values.size
    rank = int(np.ceil((n + 1) * coverage - 1e-9))
    if rank > n:
        raise DataError(
            f"{n} calibration rows cannot carry a {coverage:.0%} interval{what}: "
            f"at least {int(np.ceil(coverage / (1 - coverage) - 1e-9))} are needed; "
            "give a longer calibration range or fewer extreme quantile levels"
        )
    return float(np.partition(values, rank - 1)[rank - 1])


def fit(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float], *, normalised: bool = True) -> ConformalConstants:
    """Split-conformal constants per horizon and central interval from calibration rows.

    ``quantiles`` ``(rows, horizons, levels)``, ``actual`` ``(rows, horizons)``; rows with NaN are left out per horizon. Raises DataError
    when too few rows remain for the widest interval, or when quantiles have no width to scale by.
    """
    q, y = np.asarray(quantiles, np.float64), np.asarray(actual, np.float64)
    if y.ndim != 2 or q.shape != (*y.shape, len(levels)):
        raise DataError(
            f"cannot calibrate quantiles of shape {q.shape} with outcomes of shape {y.shape}: "
            f"expected (rows, horizons, {len(levels)}) and (rows, horizons)"
        )
    all_scores = scores(q, y, levels, normalised=normalised)
    known = ~(np.isnan(y) | np.isnan(q).any(axis=-1))
    constants, rows = [], []
    for h in range(y.shape[1]):
        of_horizon = []
        for p, (low, high) in enumerate(central_pairs(levels)):
            coverage = levels[high] - levels[low]
            constant = _quantile_of_scores(all_scores[known[:, h], h, p], coverage, f" at horizon number {h + 1}")
            if not np.isfinite(constant):
                raise DataError(
                    f"the {coverage:.0%} interval at horizon number {h + 1} has no width in most calibration rows, so it cannot be scaled: "
                    "give a model with a spread, or fit with normalised=False"
                )
            of_horizon.append(constant)
        constants.append(tuple(of_horizon))
        rows.append(int(known[:, h].sum()))
    return ConformalConstants(tuple(float(t) for t in levels), tuple(constants), tuple(rows), normalised)


def monotone(quantiles: ArrayLike, levels: Sequence[float]) -> Floats:
    """Quantiles that rise: from the middle level outward each end is kept at or beyond the one inside it, so no interval shrinks."""
    q = np.array(quantiles, np.float64)
    middle = int(np.searchsorted(np.asarray(levels), 0.5 - 1e-9))
    middle = min(middle, q.shape[-1] - 1)
    np.maximum.accumulate(q[..., middle:], axis=-1, out=q[..., middle:])
    lower = q[..., middle::-1]
    np.minimum.accumulate(lower, axis=-1, out=lower)
    return q


def move(quantiles: Floats, constants: ArrayLike, levels: Sequence[float], *, normalised: bool) -> Floats:
    """Quantiles with the ends of each central interval moved outward by ``constants`` ``(..., pairs)``, made monotone."""
    q, c = np.array(quantiles, np.float64), np.asarray(constants, np.float64)
    source = np.asarray(quantiles, np.float64)
    for p, (low, high) in enumerate(central_pairs(levels)):
        step = c[..., p] * (source[..., high] - source[..., low]) if normalised else c[..., p]
        q[..., low] = source[..., low] - step
        q[..., high] = source[..., high] + step
    return monotone(q, levels)


def apply(quantiles: ArrayLike, constants: ConformalConstants) -> Floats:
    """Calibrated quantiles ``(rows, horizons, levels)``: each central interval moved by its constant, then made monotone (outward)."""
    q = np.asarray(quantiles, np.float64)
    if q.ndim != 3 or q.shape[1:] != (len(constants.constants), len(constants.levels)):
        raise DataError(
            f"quantiles of shape {q.shape} do not fit conformal constants of {len(constants.constants)} horizons "
            f"and {len(constants.levels)} levels: calibrate again for this model"
        )
    return move(q, np.asarray(constants.constants), constants.levels, normalised=constants.normalised)
