"""`RegimeReading`: the regime shown at each bar of one symbol and timeframe, what is believed of each label, and when it was said.

Three kinds, which never share a file. A *filtered* reading says the label of a bar at its close and never takes it back. A `LaggedReading`
is filtered too, ``lag`` bars late: the label of a bar is said when so many more have closed. A `SmoothedReading` looks back from the end
of the series. The last two hold at a bar what later bars told: they are `Hindsight`, and refused wherever the future may not be known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError
from candelabra.regimes.decoding import Decoder
from candelabra.regimes.filters import evidence
from candelabra.regimes.segmentation import UNLABELLED, runs
from candelabra.regimes.smoothing import markov_smoother

__all__ = ["LaggedReading", "Mode", "RegimeReading", "SmoothedReading", "read_regimes"]

Mode = Literal["filtered", "smoothed"]
"""``filtered``: from bars that were closed; ``smoothed``: from the whole series."""


@dataclass(frozen=True, eq=False)
class RegimeReading:
    """Regimes bar by bar ``(n,)``; build with :func:`read_regimes`.

    ``open_time``, ``close_time`` int64 ms UTC; ``code`` int16 indexes ``labels``, `UNLABELLED` where nothing is said; ``probabilities``
    float64 ``(n, K)``: what the decoder believes of each label, NaN where unknown; ``lag``: bars that a fixed-lag output waits, 0 else;
    ``model``: id of what read them. DataError when columns do not fit each other, UsageError when mode and lag need another class.
    """

    symbol: str
    timeframe: Timeframe
    labels: tuple[str, ...]
    open_time: NDArray[np.int64]
    close_time: NDArray[np.int64]
    code: NDArray[np.int16]
    probabilities: NDArray[np.float64]
    mode: Mode
    lag: int
    model: str

    def __post_init__(self) -> None:
        where, n, k = f"regimes of {self.symbol} {self.timeframe}", len(self.open_time), len(self.labels)
        if len(self.close_time) != n or self.code.shape != (n,) or self.probabilities.shape != (n, k):
            raise DataError(
                f"{where}: {n} open times, {len(self.close_time)} close times, codes {self.code.shape} and probabilities "
                f"{self.probabilities.shape} of {k} labels do not fit: give each bar one of each, and a column to each label"
            )
        if n and (self.code.min() < UNLABELLED or self.code.max() >= k):
            raise DataError(f"{where}: a code lies outside -1 .. {k - 1}: codes are places in {self.labels}, -1 for none")
        if (np.diff(self.open_time) <= 0).any() or (self.timeframe.next(self.open_time) != self.close_time).any():
            raise DataError(f"{where}: its times do not rise, or a bar does not close {self.timeframe} after it opens: give candles' own")
        fitting = SmoothedReading if self.mode == "smoothed" else LaggedReading if self.lag else RegimeReading
        if type(self) is not fitting or self.lag < 0 or (self.lag and self.mode == "smoothed"):
            raise UsageError(
                f"{where}: mode {self.mode!r} with a lag of {self.lag} bars is no {type(self).__name__}: what later bars told is a "
                "SmoothedReading (lag 0) or a LaggedReading (filtered, lag 1 or more)"
            )

    def __len__(self) -> int:
        return len(self.open_time)

    @cached_property
    def said_at(self) -> NDArray[np.int64]:
        """When the label of each bar was said for good (ms UTC): at its close, where nothing later told it."""
        return self.close_time

    @property
    def settled(self) -> int:
        """How many of the first bars have a label that no later candle changes: all, of a filtered reading without lag."""
        return len(self)

    @cached_property
    def age(self) -> NDArray[np.int64]:
        """How many candles the regime shown at each bar had lasted by then, the bar included; 0 where nothing is said."""
        first, stop, _ = runs(self.code)
        return np.where(self.code >= 0, np.arange(len(self)) - np.repeat(first, stop - first) + 1, 0)

    @cached_property
    def shown(self) -> NDArray[np.float64]:
        """The probability of the label shown ``(n,)``, NaN where nothing is said or known."""
        place = np.maximum(self.code, 0).astype(np.int64)
        own = np.take_along_axis(self.probabilities, place[:, None], axis=1)[:, 0] if len(self.labels) else np.full(len(self), np.nan)
        return np.where(self.code >= 0, own, np.nan)

    @cached_property
    def names(self) -> NDArray[np.str_]:
        """The label of each bar, "" where nothing is said."""
        return np.array([*self.labels, ""])[self.code]

    def rows(self, index: slice) -> RegimeReading:
        """The reading of a stretch of its bars, as if it ended there: what had not settled by its last bar counts as provisional again."""
        more: dict[str, Any] = {"known_at": self.known_at[index]} if isinstance(self, Hindsight) else {}
        columns = (self.open_time[index], self.close_time[index], self.code[index], self.probabilities[index])
        return replace(self, open_time=columns[0], close_time=columns[1], code=columns[2], probabilities=columns[3], **more)

    def __repr__(self) -> str:
        late = f", {self.lag} bars late" if self.lag else ""
        return f"{type(self).__name__}({self.symbol} {self.timeframe}, {len(self):,} bars of {', '.join(self.labels)}{late})"


@dataclass(frozen=True, eq=False, repr=False)
class LaggedReading(RegimeReading, Hindsight):
    """A filtered reading whose labels are said ``lag`` bars late; those of the last ``lag`` bars are provisional, and may yet change.

    ``known_at`` int64 ms: the close of the bar that told; of provisional bars, of the bar that will.
    """

    known_at: NDArray[np.int64]

    @cached_property
    def said_at(self) -> NDArray[np.int64]:
        """When the label of each bar was said for good (ms UTC)."""
        return self.known_at

    @property
    def settled(self) -> int:
        """How many of the first bars have a label that no later candle changes: all but the last ``lag``."""
        return max(0, len(self) - self.lag)


@dataclass(frozen=True, eq=False, repr=False)
class SmoothedReading(RegimeReading, Hindsight):
    """What looking back from the end of the series says; ``known_at`` int64 ms: the last close, if nobody promises less."""

    known_at: NDArray[np.int64]

    @cached_property
    def said_at(self) -> NDArray[np.int64]:
        """When the label of each bar could have been said (ms UTC)."""
        return self.known_at

    @property
    def settled(self) -> int:
        """How many of the first bars lie in segments that have ended in this reading. Made again with more candles it is another one."""
        first, _, _ = runs(self.code)
        return int(first[-1]) if len(first) else 0


def read_regimes(
    candles: Candles,
    decoder: Decoder,
    probabilities: ArrayLike,
    *,
    model: str = "",
    smoothed: bool = False,
    known_at: NDArray[np.int64] | None = None,
) -> RegimeReading:
    """Decode a classifier's ``probabilities`` ``(n, K)`` of the bars of ``candles``; the decoder decides what kind of reading it is.

    ``smoothed``: the probabilities themselves came from a model that looks back, so that the reading is hindsight with any decoder;
    ``known_at``: when each bar's label could have been said, where the model reads less far than to the end. Beliefs beside a path
    are those of its Markov chain in hindsight. A fixed lag shows the bars it still waits for too: the label that the filter believes in
    so far, as provisional.
    """
    p = np.asarray(probabilities, np.float64)
    if p.shape[:1] != (len(candles),):
        raise DataError(f"{candles.symbol} {candles.timeframe}: {p.shape} probabilities for {len(candles)} bars: give a row to each bar")
    code, beliefs, lag = decoder.decode(p), np.array(decoder.beliefs(p)), decoder.settings.lag
    path = not (decoder.causal or lag)
    if path:  # a bar alone says little of what the whole path says of it
        d = decoder.durations
        beliefs = markov_smoother(evidence(p, d.share, decoder.settings.power), d.share, d.transition())
    if lag:
        first = max(0, len(p) - lag)
        beliefs[first:] = decoder.at_close().beliefs(p)[first:]
        known = np.asarray(np.isfinite(beliefs[first:]).all(axis=1))
        code[first:] = np.where(known, np.argmax(np.where(known[:, None], beliefs[first:], 0.0), axis=1), UNLABELLED)
    for column in (code, beliefs):
        column.flags.writeable = False
    columns = (candles.symbol, candles.timeframe, decoder.labels, candles.open_time, candles.close_time, code, beliefs)
    if smoothed or path:
        last = candles.close_time[-1:].max(initial=0)
        said = np.full(len(candles), last) if known_at is None else np.asarray(known_at, np.int64)
        return SmoothedReading(*columns, "smoothed", 0, model, said)
    if lag:
        closes = [candles.close_time]
        while len(candles) and len(closes) <= lag:
            closes.append(candles.timeframe.next(closes[-1][-1:]))
        told = np.concatenate(closes)[lag : lag + len(candles)]
        return LaggedReading(*columns, "filtered", lag, model, told)
    return RegimeReading(*columns, "filtered", 0, model)
