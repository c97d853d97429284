"""`BaseStates`: what a network that forecasts says of regimes, bar by bar; apart, so that a server without regimes loads nothing more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BaseStates"]


@dataclass(frozen=True, eq=False)
class BaseStates:
    """What a network's state says of regimes at base bars: ``close_ms`` int64 ``(m,)``, ``logits`` float32 ``(m, R)``; NaN: not known."""

    close_ms: NDArray[np.int64]
    logits: NDArray[np.float32]

    def at(self, close_ms: NDArray[np.int64]) -> NDArray[np.float32]:
        """The rows of bars that close at ``close_ms``, rising; NaN where no base bar does."""
        place = np.searchsorted(self.close_ms, close_ms)
        place = np.minimum(place, max(len(self.close_ms) - 1, 0))
        if not len(self.close_ms):
            return np.full((len(close_ms), self.logits.shape[1]), np.nan, np.float32)
        return np.where((self.close_ms[place] == close_ms)[:, None], self.logits[place], np.float32(np.nan))
