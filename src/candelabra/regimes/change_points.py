"""Segments between change points that `ruptures` finds in the whole series, named by their own trend and volatility (hindsight only)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, MissingExtraError, UsageError
from candelabra.regimes.labeller import Reach, at_least, segmented, short_of_bars
from candelabra.regimes.segmentation import REGIME_LABELS, Segmentation

__all__ = ["KernelChangePoints", "Pelt"]

_MOST_BARS: Final = 60_000
"""Both methods cost time that grows faster than the bars; beyond this a run takes hours."""
_SPAN: Final = 24
_WHOLE: Final = Reach(None, whole=True)


@dataclass(frozen=True)
class _Named:
    """What both share: how change points become labels."""

    trend: float = 1.0
    volatile: float = 1.5
    least_run: int = 12

    labels: ClassVar[tuple[str, ...]] = REGIME_LABELS

    @property
    def reach(self) -> Reach:
        """The whole series: more candles may move every change point."""
        return _WHOLE

    def _label(self, name: str, candles: Candles, found: NDArray[np.int64]) -> Segmentation:
        code = _named(candles, found, self.trend, self.volatile)
        known = np.full(len(candles), candles.close_time[-1])
        return segmented(name, candles, self.labels, code, known, 1)


@dataclass(frozen=True)
class Pelt(_Named):
    """Exact penalised change points (Killick 2012) in mean and size of returns, by squared error, every ``jump`` bars.

    ``penalty`` is multiplied by the log of the bars. A segment is volatile where its volatility passes ``volatile`` times the median bar's,
    else bullish or bearish where its return is ``trend`` standard errors from 0, else consolidation. Known at the end of the candles only.
    """

    name: ClassVar[str] = "pelt"

    penalty: float = 3.0
    jump: int = 6

    def __post_init__(self) -> None:
        at_least(self.name, penalty=(self.penalty, 0), jump=(self.jump, 1), least_run=(self.least_run, 2))
        _ruptures(self.name)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``."""
        signal = _signal(self.name, candles, self.least_run)
        method = _ruptures(self.name).Pelt(model="l2", min_size=self.least_run, jump=self.jump)
        return self._label(self.name, candles, np.asarray(method.fit(signal).predict(pen=self.penalty * np.log(len(signal)))))


@dataclass(frozen=True)
class KernelChangePoints(_Named):
    """Change points in the distribution of returns and their size by a Gaussian kernel of scale ``gamma`` (Celisse 2018, Arlot 2019).

    ``penalty`` is multiplied by the log of the bars. Segments are named as `Pelt` names them.
    """

    name: ClassVar[str] = "kernel_change_points"

    penalty: float = 1.0
    gamma: float = 0.5

    def __post_init__(self) -> None:
        at_least(self.name, penalty=(self.penalty, 0), least_run=(self.least_run, 2))
        if not self.gamma > 0:
            raise UsageError(f"the labeller {self.name} cannot have gamma = {self.gamma:g}: give a number above 0")
        _ruptures(self.name)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``."""
        signal = _signal(self.name, candles, self.least_run)
        method = _ruptures(self.name).KernelCPD(kernel="rbf", min_size=self.least_run, params={"gamma": self.gamma})
        return self._label(self.name, candles, np.asarray(method.fit(signal).predict(pen=self.penalty * np.log(len(signal)))))


def _ruptures(name: str) -> Any:
    try:
        import ruptures
    except ImportError as error:
        raise MissingExtraError("ruptures", "labellers", f"the labeller {name}") from error
    return ruptures


def _signal(name: str, candles: Candles, least_run: int) -> NDArray[np.float64]:
    """Mean and log size of returns over a few bars, standardised: what a regime differs in, ``(n, 2)``."""
    needed = max(2 * least_run, 2 * _SPAN) + 1
    if len(candles) < needed:
        raise short_of_bars(name, candles, needed)
    if len(candles) > _MOST_BARS:
        raise DataError(
            f"{candles.symbol} {candles.timeframe} has {len(candles):,} bars; the labeller {name} compares bars with bars and takes "
            f"at most {_MOST_BARS:,}: choose a longer timeframe or a shorter stretch"
        )
    returns = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
    kernel = np.ones(_SPAN) / _SPAN
    near = np.convolve(np.pad(returns, (_SPAN // 2, _SPAN - 1 - _SPAN // 2), mode="edge"), kernel, "valid")
    size = np.convolve(np.pad(np.abs(returns), (_SPAN // 2, _SPAN - 1 - _SPAN // 2), mode="edge"), kernel, "valid")
    table = np.column_stack([near / np.maximum(size, 1e-12), np.log(np.maximum(size, 1e-12))])
    return np.asarray((table - table.mean(axis=0)) / np.maximum(table.std(axis=0), 1e-12))


def _named(candles: Candles, ends: NDArray[np.int64], trend: float, volatile: float) -> NDArray[np.int16]:
    """A code a bar from the rows after each segment's last."""
    returns = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
    first = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    bars = ends - first
    moved = np.add.reduceat(returns, first)
    deviation = np.sqrt(np.add.reduceat(returns * returns, first) / bars)
    usual = float(np.median(np.repeat(deviation, bars)))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(deviation > 0, moved / (deviation * np.sqrt(bars)), 0.0)
    code = np.where(deviation > volatile * usual, 3, np.where(z >= trend, 0, np.where(z <= -trend, 1, 2)))
    return np.repeat(code, bars).astype(np.int16)
