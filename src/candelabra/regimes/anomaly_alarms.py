"""From scores to alarms: a threshold with a stated false-alarm rate, alarms, and what each bar did in words.

The threshold is the k-th largest of n calibration scores, k = floor(rate (n + 1)): of exchangeable bars a next one exceeds it with chance
k / (n + 1), whatever the scores' law (split conformal; Vovk, Gammerman and Shafer 2005). Bars are not quite exchangeable. Alarms come in
clusters, so the interval takes bars for as many fewer as counts by week of scores ten times as frequent are overdispersed. And markets
change over years, so the threshold may *follow*: after each bar it moves by ``step * (alarm - rate)``, which holds the rate in the long run
whatever comes (quantile tracking; Gibbs and Candes 2021). Scores 100 times rarer than the threshold do not move it: they would be alarms
anyway, and should not make it deaf.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from candelabra.candles.frame import format_time
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.regimes.anomalies import AnomalyScores
from candelabra.regimes.anomaly_words import reason

__all__ = ["FOLLOW", "Alarm", "Flags", "Threshold", "alarms", "calibrate"]

Array: TypeAlias = NDArray[np.float64]
FOLLOW: Final = 0.1
"""The step of a threshold that follows: an alarm too many raises it by this much surprise."""
_BLOCK: Final = 168
_OFTEN: Final = 10
_CLEAR: Final = 2.0


@dataclass(frozen=True)
class Threshold:
    """Bars with a combined score above ``value`` are alarms. ``rank`` of ``bars`` calibration scores; ``step`` 0: it stands still.

    ``cluster``: how many alarms come together (variance over mean of counts in blocks of 168 bars), from which intervals are counted.
    """

    value: float
    rank: int
    bars: int
    cluster: float
    step: float = 0.0

    @property
    def rate(self) -> float:
        """The stated share of false alarms among clean bars."""
        return self.rank / (self.bars + 1)

    def interval(self, bars: int, coverage: float = 0.95) -> tuple[int, int]:
        """How many alarms ``bars`` further clean bars have, with this chance: beta-binomial, since the threshold is itself estimated.

        Alarms that come together count as one, which widens it.
        """
        size = self.cluster
        law = stats.betabinom(max(1, round(bars / size)), self.rank / size, (self.bars + 1 - self.rank) / size)
        low, high = law.ppf((1 - coverage) / 2), law.ppf((1 + coverage) / 2)
        return int(np.floor(size * low)), int(np.ceil(size * high))

    def words(self, bars: int) -> str:
        """What is promised, for people."""
        low, high = self.interval(bars)
        return (
            f"{1000 * self.rate:.2g} false alarms per 1,000 clean bars (threshold {self.value:.2f}, from {self.bars:,} calibration bars): "
            f"{low} to {high} in {bars:,} bars, 95 %"
        )

    def flag(self, scores: AnomalyScores | ArrayLike, start: float | None = None) -> Flags:
        """Alarms of scores in time order; ``start``: where a threshold that follows stood (``Flags.end`` of the scores before)."""
        combined = np.asarray(scores.combined if isinstance(scores, AnomalyScores) else scores, np.float64)
        levels, end = _follow(combined, self.value if start is None else start, self.rate, self.step)
        with np.errstate(invalid="ignore"):
            return Flags(combined > levels, levels, end)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Threshold:
        """What `to_dict` wrote; BundleError for anything else."""
        try:
            rank, bars = (int(content[name]) for name in ("rank", "bars"))
            return cls(float(content["value"]), rank, bars, float(content["cluster"]), float(content["step"]))
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"not an anomaly threshold: {error!r}; calibrate again") from None


@dataclass(frozen=True, eq=False)
class Flags:
    """``alarm`` bool ``(n,)``, and the ``threshold`` float64 ``(n,)`` each bar was held against; ``end``: the next bar's."""

    alarm: NDArray[np.bool_]
    threshold: Array
    end: float


@dataclass(frozen=True)
class Alarm:
    """A flagged bar: times in ms UTC, ``surprise`` of the combined score, the ``component`` that said most, and why in words."""

    symbol: str
    timeframe: str
    open_ms: int
    close_ms: int
    surprise: float
    threshold: float
    component: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the time also for people."""
        return asdict(self) | {"open": format_time(self.open_ms) + " UTC"}


def calibrate(scores: AnomalyScores | ArrayLike, false_alarms: float = 1.0, *, step: float = 0.0) -> Threshold:
    """The threshold for ``false_alarms`` per 1,000 clean bars, from scores of the calibration range; NaN is left out.

    Whatever anomalies the calibration range had count as clean: the threshold is then higher, never lower. ``step``: see `Threshold`
    (`FOLLOW` is a good one). Raises UsageError for a rate that cannot be, DataError when the range is too short for it.

    >>> threshold = calibrate(np.random.default_rng(0).exponential(size=5_000), 2)
    >>> threshold.rank, threshold.interval(5_000)
    (10, (2, 22))
    """
    values = np.asarray(scores.combined if isinstance(scores, AnomalyScores) else scores, np.float64)
    values = values[np.isfinite(values)]
    if not 0 < false_alarms < 500 or not 0 <= step < 1:
        raise UsageError(
            f"false alarms per 1,000 bars lie between 0 and 500 and the step between 0 and 1, got {false_alarms:g} and {step:g}"
        )
    n = len(values)
    rank = int(np.floor(false_alarms / 1000 * (n + 1) + 1e-9))
    if rank < 1:
        raise DataError(
            f"{n} calibration bars cannot promise {false_alarms:g} false alarms per 1,000 bars: {int(np.ceil(1000 / false_alarms)) - 1} "
            "are needed; give a longer calibration range or allow more alarms"
        )
    value = float(np.partition(values, n - rank)[n - rank])
    return Threshold(value, rank, n, _cluster(values, rank), step)


def _cluster(values: Array, rank: int) -> float:
    """Overdispersion of scores ten times as frequent as alarms, of which there are enough to count; 1 for independent bars."""
    usual = np.partition(values, max(0, len(values) - _OFTEN * rank))[max(0, len(values) - _OFTEN * rank)]
    blocks = len(values) // _BLOCK
    if blocks < 4:
        return 1.0
    counts = (values[: blocks * _BLOCK] > usual).reshape(blocks, _BLOCK).sum(axis=1)
    return float(np.clip(counts.var(ddof=1) / max(counts.mean(), 1e-9), 1.0, rank))


def alarms(scores: AnomalyScores, flags: Flags, *, since_ms: int | None = None) -> list[Alarm]:
    """The flagged bars (that close after ``since_ms``), the oldest first, each with its reason."""
    rows = np.flatnonzero(flags.alarm & (scores.close_time > (since_ms if since_ms is not None else -(2**62))))
    return [
        Alarm(
            scores.symbol,
            scores.timeframe.name,
            int(scores.open_time[row]),
            int(scores.close_time[row]),
            float(scores.combined[row]),
            float(flags.threshold[row]),
            scores.worst(row)[0],
            reason(scores.timeframe, int(scores.open_time[row]), scores.worst(row, 3), scores.components, scores.evidence, row),
        )
        for row in rows.tolist()
    ]


@njit(cache=True)
def _follow(scores: Array, start: float, rate: float, step: float) -> tuple[Array, float]:
    out = np.empty(len(scores))
    level = start
    for t in range(len(scores)):
        out[t] = level
        if scores[t] <= level:
            level -= step * rate
        elif scores[t] <= level + _CLEAR:  # NaN compares false twice and moves nothing
            level += step * (1.0 - rate)
    return out, level
