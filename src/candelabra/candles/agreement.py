"""Two series that should tell of one market, held against each other: a series alone cannot show that it is real."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.errors import DataError

__all__ = ["Agreement", "compare"]

Verdict = Literal["the same candles", "the same market", "doubtful", "not the same market"]

_SAME: Final = 1e-9
_LEAST: Final = 30
_SHIFTS: Final = 24


@dataclass(frozen=True)
class Agreement:
    """How far two series agree on the bars that both have.

    ``differing``: the share of common bars with any price apart by more than the tolerance; ``apart``: the median distance of closes
    (|log|); ``correlation`` of returns; ``shift``: how many bars one must be moved for returns to fit best (not 0: another time zone, or
    stamps at the close).
    """

    symbol: str
    timeframe: str
    common: int
    only_first: int
    only_second: int
    differing: float
    apart: float
    correlation: float
    shift: int
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """Plain strings and numbers."""
        return asdict(self)


def compare(first: Candles, second: Candles, tolerance: float = 1e-6) -> Agreement:
    """Hold two series of one market against each other; the finer is resampled to the timeframe of the coarser.

    Prices that move together at a small distance are one market (perhaps of two venues); returns that do not are another market,
    another time zone, or made up. Raises DataError when they have fewer than 30 bars in common.

    >>> from candelabra.candles.simulate import simulate
    >>> one, other = (simulate("BTC/USDT", "1h", bars=200, seed=seed).candles for seed in (1, 2))
    >>> compare(one, one).verdict, compare(one, other).verdict
    ('the same candles', 'not the same market')
    """
    if first.timeframe != second.timeframe:
        coarse = max(first.timeframe, second.timeframe)
        first, second = (c if c.timeframe == coarse else resample(c, coarse) for c in (first, second))
    _, at_first, at_second = np.intersect1d(first.bar, second.bar, assume_unique=True, return_indices=True)
    if len(at_first) < _LEAST:
        raise DataError(
            f"{first.symbol} {first.timeframe}: the series have {len(at_first)} bars in common, and {_LEAST} are needed: "
            "give series of one time"
        )
    a, b = first.rows(at_first.astype(np.int64)), second.rows(at_second.astype(np.int64))
    prices = zip(a.values()[:4], b.values()[:4], strict=True)
    differs = np.logical_or.reduce([np.abs(x / y - 1) > tolerance for x, y in prices])
    apart = float(np.median(np.abs(np.log(a.close / b.close))))
    moves = [np.diff(np.log(c.close)) for c in (a, b)]
    fits = {shift: _correlation(moves[0], moves[1], shift) for shift in range(-_SHIFTS, _SHIFTS + 1)}
    shift = max(fits, key=lambda s: (round(fits[s], 9), -abs(s)))
    share, together = float(differs.mean()), fits[0]
    if share == 0:
        verdict: Verdict = "the same candles"
    elif together > 0.8 and apart < 0.05:
        verdict = "the same market"
    elif together < 0.3 or (share > 0.5 and apart > 0.2):
        verdict = "not the same market"
    else:
        verdict = "doubtful"
    counts = (len(a), len(first) - len(a), len(second) - len(b))
    shift = shift if fits[shift] > max(0.5, together + 0.1) else 0  # the best of 49 fits by chance says nothing
    return Agreement(first.symbol, first.timeframe.name, *counts, share, apart, together, shift, verdict)


def _correlation(x: Any, y: Any, shift: int) -> float:
    """Correlation of the moves at a shift of ``y`` by that many bars; 0 where one does not move."""
    a, b = (x[shift:], y[: len(y) - shift]) if shift >= 0 else (x[:shift], y[-shift:])
    if len(a) < _LEAST // 2 or a.std() < _SAME or b.std() < _SAME:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
