"""`Losses`: what the newest judged forecasts of one symbol and horizon cost, in a table that does not grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["COVERAGES", "MEASURES", "Losses"]

COVERAGES: Final = (0.5, 0.8, 0.9)
MEASURES: Final = ("crps", "qlike")
"""In which a forecast is compared with the baselines."""
_OWN: Final = ("pinball", *MEASURES)


class Losses:
    """The newest ``window`` rows; NaN where something is not known. ``rivals``: names of the baselines."""

    def __init__(self, window: int, rivals: Sequence[str]) -> None:
        self.rivals = tuple(rivals)
        self.columns = (*_OWN, *(f"{c:g}" for c in COVERAGES), *(f"{m} {name}" for m in MEASURES for name in self.rivals))
        self._table = np.full((window, len(self.columns)), np.nan)
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, len(self._table))

    def add(self, body: Mapping[str, Any]) -> None:
        """A judged forecast, as `judge.Judge` writes it."""
        told = [*(body[name] for name in _OWN), *(body["covered"][f"{c:g}"] for c in COVERAGES)]
        told += [body["rivals"].get(name, {}).get(measure) for measure in MEASURES for name in self.rivals]
        self._table[self._count % len(self._table)] = [np.nan if value is None else value for value in told]
        self._count += 1

    def rows(self) -> NDArray[np.float64]:
        """Oldest first ``(n, columns)``."""
        if self._count <= len(self._table):
            return self._table[: self._count]
        return np.roll(self._table, -(self._count % len(self._table)), axis=0)

    def column(self, name: str) -> NDArray[np.float64]:
        """One column of `rows`; NaN where there is none of that name."""
        if name not in self.columns:
            return np.full(len(self), np.nan)
        return np.asarray(self.rows()[:, self.columns.index(name)])
