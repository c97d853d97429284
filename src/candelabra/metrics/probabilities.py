"""Are stated probabilities of labels true: expected calibration error and the Brier score."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError

__all__ = ["brier_score", "expected_calibration_error"]

BINS: Final = 15


def expected_calibration_error(truth: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Mean gap between the largest probability and how often its label is true, over equal bins (Guo et al. 2017); NaN without rows.

    ``truth`` ``(n,)`` codes, below 0 left out; ``probabilities`` ``(n, labels)``, rows with NaN left out.
    """
    code, chance = _known(truth, probabilities)
    if not len(code):
        return float("nan")
    top = chance.max(1)
    right = (np.argmax(chance, 1) == code).astype(np.float64)
    place = np.clip(np.ceil(top * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, right - top, bins)
    return float(np.abs(gap).sum() / len(code))


def brier_score(truth: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean squared distance from the true label, summed over labels (Brier 1950): 0 perfect, 2 sure and wrong; NaN without rows."""
    code, chance = _known(truth, probabilities)
    if not len(code):
        return float("nan")
    hit = chance[np.arange(len(code)), code]
    return float(np.mean((chance**2).sum(1) - 2.0 * hit + 1.0))


def _known(truth: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    code, chance = np.asarray(truth).astype(np.int64), np.asarray(probabilities, np.float64)
    if chance.ndim != 2 or code.shape != chance.shape[:1]:
        raise DataError(f"probabilities {chance.shape} do not fit {code.shape} true labels: give (bars, labels), a row for every bar")
    known = (code >= 0) & np.isfinite(chance).all(1)
    code, chance = code[known], chance[known]
    if len(code) and (code.max() >= chance.shape[1] or chance.min() < -1e-6 or np.abs(chance.sum(1) - 1).max() > 1e-3):
        raise DataError(
            "probabilities must be 0 or more and sum to 1 over all labels of the truth: normalise them, one column for each label"
        )
    return code, chance
