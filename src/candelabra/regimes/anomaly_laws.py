"""How rare is this? Laws fitted on the train range that turn what a bar shows into a *surprise*: -log10 of a tail probability.

A surprise of 3 is what one bar in a thousand shows or exceeds. All laws say at most `MOST`, so that one impossible bar stays a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, stats

from candelabra.errors import DataError

__all__ = ["LEAST_ROWS", "MOST", "RunLaw", "StudentLaw", "TailLaw", "fit_runs", "fit_student", "fit_tail"]

Array: TypeAlias = NDArray[np.float64]
MOST: Final = 30.0
LEAST_ROWS: Final = 500
"""Train rows without which no tail is known."""
_TAIL: Final = 0.01
_TAIL_ROWS: Final = 30
_TIE: Final = 1e-9
_STUDENT_ROWS: Final = 20_000


@dataclass(frozen=True)
class TailLaw:
    """How rare large values of one statistic are: counted on train up to its last ``knots``, exponential beyond.

    ``surprises`` are those at the rising ``knots``; ``slope``: surprise per unit beyond the last. Statistics are logs of ratios, whose
    exponential tail is a power law of the ratio (Hill 1975).
    """

    knots: tuple[float, ...]
    surprises: tuple[float, ...]
    slope: float

    def surprise(self, values: ArrayLike) -> Array:
        """-log10 of the share of train rows with such a value or a larger one ``(n,)``; NaN stays NaN."""
        x = np.asarray(values, np.float64)
        inside = np.interp(x, self.knots, self.surprises)
        return np.asarray(np.minimum(inside + self.slope * np.maximum(x - self.knots[-1], 0.0), MOST))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"knots": list(self.knots), "surprises": list(self.surprises), "slope": self.slope}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> TailLaw:
        """What `to_dict` wrote."""
        return cls(tuple(map(float, content["knots"])), tuple(map(float, content["surprises"])), float(content["slope"]))


def fit_tail(values: ArrayLike, what: str) -> TailLaw:
    """The law of large ``values`` of train rows, NaN left out; DataError when fewer than `LEAST_ROWS` are known.

    >>> law = fit_tail(np.random.default_rng(0).exponential(size=20_000), "an example")
    >>> law.surprise([0.0, 2.3026, 11.513]).round(1)
    array([0. , 1. , 4.9])
    """
    x = np.sort(np.asarray(values, np.float64)[np.isfinite(values)])
    n = len(x)
    if n < LEAST_ROWS:
        raise DataError(f"{what} is known on {n} train bars, and its tail needs {LEAST_ROWS}: give a longer train range")
    top = max(_TAIL, _TAIL_ROWS / n)
    shares = np.geomspace(1.0, top, 40)
    knots = np.quantile(x, 1 - shares)
    # Of knots that tie (no wick at all, no volume) two stay: what such a value is, and what anything larger is.
    new = np.concatenate([[True], np.diff(knots) > _TIE])
    last = np.concatenate([new[1:], [True]])
    knots = np.where(last & ~new, knots + _TIE, knots)
    keep = new | last
    beyond = x[x > knots[-1]]
    scale = float((beyond - knots[-1]).mean()) if len(beyond) else 0.0
    slope = 1.0 / (np.log(10) * max(scale, 1e-3))
    return TailLaw(tuple(knots[keep].tolist()), tuple((-np.log10(shares[keep])).tolist()), float(slope))


@dataclass(frozen=True)
class StudentLaw:
    """A symmetric Student-t law of what was expected to be 1: ``degrees`` of freedom, and ``scale``."""

    degrees: float
    scale: float

    @property
    def sd(self) -> float:
        """Its standard deviation (degrees are fitted above 2)."""
        return float(self.scale * np.sqrt(self.degrees / (self.degrees - 2)))

    def surprise(self, values: ArrayLike) -> Array:
        """-log10 of the two-sided tail probability ``(n,)``; NaN stays NaN."""
        z = np.abs(np.asarray(values, np.float64)) / self.scale
        return np.asarray(np.minimum(-np.log10(np.maximum(2 * stats.t.sf(z, self.degrees), 10 ** (-MOST))), MOST))


def fit_student(values: ArrayLike, what: str) -> StudentLaw:
    """Maximum likelihood of degrees (2.1 to 50) and scale about zero; DataError when fewer than `LEAST_ROWS` are known."""
    x = np.asarray(values, np.float64)[np.isfinite(values)]
    if len(x) < LEAST_ROWS:
        raise DataError(f"{what} is known on {len(x)} train bars, and its law needs {LEAST_ROWS}: give a longer train range")
    x = x[:: max(1, len(x) // _STUDENT_ROWS)]

    def loss(point: Array) -> float:
        return -float(stats.t.logpdf(x, 2.1 + np.exp(point[0]), scale=np.exp(point[1])).mean())

    begin = np.log([2.0, max(float(np.median(np.abs(x))), 1e-9)])
    found = optimize.minimize(loss, begin, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-8})
    return StudentLaw(float(min(2.1 + np.exp(found.x[0]), 50.0)), float(np.exp(found.x[1])))


@dataclass(frozen=True)
class RunLaw:
    """How long something lasts: the ``share`` of bars that have it, and the chance that it ``stays`` for another bar."""

    share: float
    stays: float

    def surprise(self, lengths: NDArray[np.int64]) -> Array:
        """-log10 of the chance that a bar is in a run of ``lengths`` bars so far or more ``(n,)``; 0 where it is in none."""
        one = -np.log10(self.share) - np.log10(self.stays) * np.maximum(lengths - 1, 0)
        return np.asarray(np.where(lengths > 0, np.minimum(one, MOST), 0.0))


def fit_runs(mask: NDArray[np.bool_]) -> RunLaw:
    """Counted on train bars, with half a bar more on each side so that what was never seen is rare, not impossible."""
    stayed, inside = int((mask[1:] & mask[:-1]).sum()), int(mask[:-1].sum())
    share = (int(mask.sum()) + 0.5) / (len(mask) + 1)
    # After one bar never is no more than after any bar: what little is known makes nothing more surprising.
    return RunLaw(share, min(max((stayed + 0.5) / (inside + 1), share), 0.999))
