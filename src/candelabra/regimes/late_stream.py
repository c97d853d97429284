"""A late decoder bar by bar: at each close, what is said for good of the bar some bars before."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import UsageError
from candelabra.regimes.decoding import LATE_KINDS, Decoder
from candelabra.regimes.filters import duration_lag_run, duration_start, evidence, markov_late, markov_step
from candelabra.regimes.segmentation import UNLABELLED

__all__ = ["LateStream"]


class LateStream:
    """A decoder of `LATE_KINDS` between two bars; equal to `Decoder.decode` and `Decoder.beliefs` to the bit. UsageError for another."""

    def __init__(self, decoder: Decoder) -> None:
        s, d = decoder.settings, decoder.durations
        if s.kind not in LATE_KINDS:
            raise UsageError(f"the decoder {s.kind} has no lag: make a late one with Decoder.late, or run it with Decoder.stream")
        self._decoder, self._heard, self._chain = decoder, 0, d.transition()
        self._belief = d.share.copy()
        self._ages = duration_start(d.share, d.survival(d.longest))
        self._filtered = np.empty((s.lag + 1, len(d)))  # of the last bars, the newest last
        self._later = np.zeros((s.lag, len(d)))  # evidence, or chances of having ended, of the last bars

    def push(self, probabilities: ArrayLike) -> tuple[int, NDArray[np.float64]]:
        """Hear one bar's ``(K,)``: label and chances of the bar ``lag`` bars before; `UNLABELLED` and NaN until there is one."""
        s, d = self._decoder.settings, self._decoder.durations
        row = evidence(self._decoder.tilted(np.asarray(probabilities, np.float64)[None]), d.share, s.power)
        out = np.full((1, len(d)), np.nan)
        self._heard += 1
        if s.kind == "markov_lag":
            markov_step(self._belief, row[0], self._chain, self._heard == 1)
            self._filtered = np.concatenate([self._filtered[1:], self._belief[None]])
            self._later = np.concatenate([self._later[1:], row])
            if self._heard > s.lag:
                markov_late(self._filtered[0], self._later, self._chain, out[0])
        else:
            duration_lag_run(row, *self._ages, d.follows, self._later, out)
        return (int(np.argmax(out[0])) if self._heard > s.lag else UNLABELLED), out[0]
