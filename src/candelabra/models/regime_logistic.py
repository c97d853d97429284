"""`logistic`: what a chart reader sees over several trailing windows, weighed by a multinomial logistic regression.

Decisions:
- columns are each window's return in standard errors and log volatility over its usual one (`glances`), at the timeframe's own bars, with
  hinges so that thresholds can be told: the numbers of a trailing-window rule, but of seven windows at once and with chances for an answer;
- some hundred weights held to 0 by a ridge, the more the fewer segments there are: a network of fifty thousand needs more segments than a
  market has in years (BTC 1h: 160 in two years; boosted trees on all spans overfit those too);
- where there are very few segments, bullish and bearish ones are learned from each other's mirror image too: one of five says little;
- causal by construction; everything is fitted on the bars handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.features.running import RunningWindows
from candelabra.models.regime_baselines import RegimeAnswer, checked_codes
from candelabra.models.regime_features import REFERENCE, WINDOWS, glances
from candelabra.regimes.segmentation import runs

__all__ = ["LogisticSettings", "RegimeLogistic", "fit_regime_logistic"]

Floats = NDArray[np.float64]
_LEAST: Final = 1e-6


@dataclass(frozen=True)
class LogisticSettings:
    """``windows`` in bars of the timeframe; ``ridge`` on scaled weights, with fewer than ``segments`` training segments in proportion more;
    with fewer than ``mirrored`` opposite labels learn from each other's mirror image; at most ``rows`` training bars, evenly spread
    (neighbours say nearly the same); ``iterations`` of the optimiser.
    """

    windows: tuple[int, ...] = WINDOWS
    reference: int = REFERENCE
    ridge: float = 0.1
    segments: int = 40
    mirrored: int = 30
    rows: int = 30_000
    iterations: int = 200

    def __post_init__(self) -> None:
        if not self.windows or min(self.windows) < 2 or self.reference < max(self.windows):
            raise UsageError(f"windows {self.windows} of at least 2 bars, and a reference ({self.reference}) no shorter, are needed")
        if self.ridge < 0 or min(self.segments, self.rows, self.iterations) < 1:
            raise UsageError(f"{self} cannot be: ridge of at least 0, and segments, rows and iterations of at least 1 are needed")


@dataclass(frozen=True, eq=False)
class RegimeLogistic:
    """Fitted: ``centre``, ``spread`` ``(C,)`` of the columns, ``weights`` ``(C + 1, K)``, the last row for the bias."""

    causal: ClassVar[bool] = True
    labels: int
    windows: tuple[int, ...]
    reference: int
    centre: Floats
    spread: Floats
    weights: Floats

    def probabilities(self, candles: Candles, past: RunningWindows | None = None) -> Floats:
        """Chances ``(n, K)`` at each close; row t reads no bar after t.

        ``past``: what the bars before these left behind (`past`), which is carried on in place (default: these are the first).
        """
        return _softmax(_scaled(_columns(candles, self.windows, self.reference, past), self.centre, self.spread) @ self.weights)

    def past(self) -> RunningWindows:
        """What is to be remembered between two bars, before the first."""
        return RunningWindows(max(self.windows))

    def answer(self, candles: Candles) -> RegimeAnswer:
        """Chances of every bar and the likeliest label."""
        chance = self.probabilities(candles)
        return RegimeAnswer(np.argmax(chance, 1).astype(np.int16), chance)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        numbers = {"centre": self.centre.tolist(), "spread": self.spread.tolist(), "weights": self.weights.tolist()}
        return {"labels": self.labels, "windows": list(self.windows), "reference": self.reference} | numbers

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RegimeLogistic:
        """What `to_dict` wrote; BundleError when it is not that."""
        try:
            centre, spread, weights = (np.asarray(content[name], np.float64) for name in ("centre", "spread", "weights"))
            windows, labels = tuple(int(w) for w in content["windows"]), int(content["labels"])
            made = cls(labels, windows, int(content["reference"]), centre, spread, weights)
            columns = _KINDS * len(windows)
            if centre.shape != (columns,) or spread.shape != (columns,) or weights.shape != (columns + 1, labels):
                raise ValueError(f"{weights.shape} weights for {columns} columns and {labels} labels")
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"this is not a logistic regime model ({error!r}): the bundle is damaged, seal it again") from error
        return made


def fit_regime_logistic(
    candles: Sequence[Candles],
    codes: Sequence[ArrayLike],
    labels: int,
    settings: LogisticSettings | None = None,
    *,
    opposite: tuple[int, int] | None = None,
) -> RegimeLogistic:
    """The likeliest weights under the ridge, from candles that end with the learning range and codes of their bars (below 0: unlabelled).

    ``opposite``: codes of the two labels that change places when prices fall instead of rising. DataError where codes do not fit, or fewer
    than two labels are seen.
    """
    from scipy.optimize import minimize

    chosen = settings or LogisticSettings()
    truth = checked_codes(candles, codes, labels)
    table = np.concatenate([_columns(c, chosen.windows, chosen.reference)[t >= 0] for c, t in zip(candles, truth, strict=True)])
    code = np.concatenate([t[t >= 0] for t in truth]).astype(np.int64)
    if len(np.unique(code)) < 2:
        raise DataError("the learning range has one label alone: a regime is told from another; hand in labels of two or more")
    every = max(1, -(-len(code) // chosen.rows))
    table, code = table[::every], code[::every]
    segments = sum(int((runs(t)[2] >= 0).sum()) for t in truth)
    if opposite is not None and segments < chosen.mirrored:
        swap = np.arange(labels)
        swap[list(opposite)] = swap[list(opposite)][::-1]
        table, code = np.concatenate([table, _mirrored(table)]), np.concatenate([code, swap[code]])
    centre, spread = table.mean(0), np.maximum(table.std(0), _LEAST)
    x = _scaled(table, centre, spread)
    ridge = chosen.ridge * max(1.0, chosen.segments / segments)
    wanted = np.eye(labels)[code]

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, labels)
        chance = _softmax(x @ weights)
        held = np.concatenate([weights[:-1], np.zeros((1, labels))])
        value = -float(np.mean(np.log(np.maximum(chance[np.arange(len(code)), code], 1e-12)))) + 0.5 * ridge * float(np.sum(held**2))
        return value, (x.T @ (chance - wanted) / len(code) + ridge * held).ravel()

    begin = np.zeros((x.shape[1], labels))
    found = minimize(loss, begin.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": chosen.iterations})
    return RegimeLogistic(labels, chosen.windows, chosen.reference, centre, spread, np.asarray(found.x, np.float64).reshape(-1, labels))


_KINDS: Final = 6  # columns a window


def _columns(candles: Candles, windows: Sequence[int], reference: int, past: RunningWindows | None = None) -> Floats:
    """``(n, 6 windows)``: return in standard errors z, its size, what it passes 1 and falls below -1 by; log volatility, and beyond 0.4."""
    seen = np.nan_to_num(glances(candles, windows, reference, past), posinf=0.0, neginf=0.0)
    z, v = np.clip(seen[:, 0::2], -4.0, 4.0), np.clip(seen[:, 1::2], -2.0, 2.0)
    parts = (z, np.abs(z), np.maximum(z - 1, 0.0), np.maximum(-z - 1, 0.0), v, np.maximum(v - 0.4, 0.0))
    return np.concatenate(parts, axis=1)


def _mirrored(table: Floats) -> Floats:
    """The columns of the same candles with every return turned round."""
    z, size, above, below, *volatility = np.split(table, _KINDS, axis=1)
    return np.concatenate([-z, size, below, above, *volatility], axis=1)


def _scaled(table: Floats, centre: Floats, spread: Floats) -> Floats:
    return np.concatenate([(table - centre) / spread, np.ones((len(table), 1))], axis=1)


def _softmax(scores: Floats) -> Floats:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
