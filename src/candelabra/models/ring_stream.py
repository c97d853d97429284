"""`RingStream`: what regime networks between two bars have in common: a ring of what their next bar reads, and how it is saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError, UsageError
from candelabra.models.regime_encoder import RegimeEncoder

__all__ = ["RingStream"]

Floats = NDArray[np.float32]
_MANY: Final = 512  # rows that matrix products are the faster way for


class RingStream(ABC):
    """A filtered network between two bars; memory is its receptive field. ``rows``, ``width``: of the ring. UsageError for a network that
    reads later bars.
    """

    def __init__(self, network: RegimeEncoder, rows: int, width: int) -> None:
        if network.mode != "filtered":
            raise UsageError("a smoothed network reads later bars: it cannot run candle by candle")
        self._network = network
        self._ring = np.zeros((rows, width), np.float32)
        self._bars = np.zeros(1, np.int64)

    def push(self, x: Floats) -> dict[str, NDArray[np.float64]]:
        """Inputs ``(n, C)`` of the next bars: chances ``(n, K)`` by timeframe name."""
        if not self._bars[0] and len(x) > _MANY:  # a history: its end alone is remembered
            told = self._network.probabilities(x)
            self._run(np.ascontiguousarray(x[-len(self._ring) :], np.float32))
            return told
        return self._run(np.ascontiguousarray(x, np.float32))

    def state(self) -> dict[str, NDArray[np.float64] | Floats]:
        """All that the next bar needs to know, as arrays by name."""
        return {"ring": self._ring.copy(), "bars": self._bars.astype(np.float64)}

    def resume(self, state: Mapping[str, NDArray[np.floating]]) -> None:
        """Stand where the same network's `state` was taken; DataError when it is none."""
        try:
            self._ring[:], self._bars[:] = state["ring"], state["bars"].astype(np.int64)
        except (KeyError, ValueError) as error:
            raise DataError(f"this is no state of this regime network ({error!r}): begin anew from the history") from error

    @abstractmethod
    def _run(self, x: Floats) -> dict[str, NDArray[np.float64]]:
        """`push`, one bar after the other; ring and count are carried on."""
