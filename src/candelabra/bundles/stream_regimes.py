"""`FollowedRegimes`: the regimes beside a forecast, candle by candle, corrected by the steps of the network that forecasts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import timeframe
from candelabra.models.base_states import BaseStates
from candelabra.models.regime_inputs import candles_at
from candelabra.models.segmenter import Segmenter
from candelabra.models.segmenter_stream import RegimeBar, SegmenterStream

__all__ = ["FollowedRegimes"]

_KEPT: Final = 2_000  # closes at which corrections are remembered: a slow bar may be told long after its close


class FollowedRegimes:
    """One symbol's regimes between two candles of one timeframe, begun from a ``history`` of them.

    They equal `Segmenter.regimes` of all candles since that history began, within law 3. Nothing is said until it no longer matters where
    it began (`Segmenter.needs`).
    """

    def __init__(self, segmenter: Segmenter, history: Candles) -> None:
        base = candles_at(history, segmenter.inputs.base)
        self.timeframe = history.timeframe
        self._segmenter, self._shown = segmenter, dict[str, dict[str, float]]()
        self._states = segmenter.states(history) if segmenter.asks_states and len(base) else None
        # a stream tells of no bar of its history: it begins before the newest bar of each timeframe, so that all are told
        newest = [own.close_time[-1] for name in segmenter.readers if len(own := candles_at(base, timeframe(name)))]
        start = int(np.searchsorted(history.close_time, min(newest))) if newest else 0
        before = history.rows(slice(0, start))
        self._bars = len(candles_at(before, segmenter.inputs.base))
        known = self._states.at(base.close_time[: self._bars]) if self._states is not None else None
        self._stream = SegmenterStream(segmenter, before, known)
        self._hear(self._stream.push(history.rows(slice(start, None)), self._states))
        self.told: tuple[RegimeBar, ...] = ()
        """The bars that closed with the last push; none before there is `enough`."""

    @property
    def enough(self) -> bool:
        """Whether so much was heard that it no longer matters where the history began."""
        return self._bars >= self._segmenter.needs

    def push(
        self, candles: Candles, closes: NDArray[np.int64], corrections: NDArray[np.float32] | None
    ) -> list[dict[str, dict[str, float]]]:
        """Candles that have closed since: the chances by timeframe as of each of ``closes``, base closes of the forecast, rising.

        ``corrections`` ``(closes, R)``: of the network that forecasts, where the segmenter asks for them.
        """
        if self._states is not None and corrections is not None:
            closed, logits = np.concatenate([self._states.close_ms, closes]), np.concatenate([self._states.logits, corrections])
            self._states = BaseStates(closed[-_KEPT:], logits[-_KEPT:])
        bars, told, at = self._stream.push(candles, self._states), [], 0
        for close in closes:
            stop = next((k for k in range(at, len(bars)) if bars[k].close_ms > close), len(bars))
            self._hear(bars[at:stop])
            at = stop
            told.append({name: dict(chances) for name, chances in self._shown.items() if chances} if self.enough else {})
        self._hear(bars[at:])
        self.told = tuple(bars) if self.enough else ()
        return told

    def _hear(self, bars: Iterable[RegimeBar]) -> None:
        for one in bars:
            self._bars += one.timeframe == self._segmenter.base
            known = bool(np.isfinite(one.probabilities).all())
            self._shown[one.timeframe] = dict(zip(one.labels, one.probabilities.tolist(), strict=True)) if known else {}
