"""What a picture of regimes is made of: candles, the segments of each timeframe, probabilities, pairs of labels; plain arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, UsageError
from candelabra.regimes.anomaly_alarms import Alarm
from candelabra.regimes.consistency import LabelPair, consistency
from candelabra.regimes.reading import RegimeReading
from candelabra.regimes.segment_table import SegmentTable
from candelabra.regimes.segmentation import REGIME_LABELS

__all__ = ["BandView", "RegimeView", "colours", "regime_views"]

PALETTE: Final = 10  # regime0 .. regime9 of the page's colours

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BandView:
    """The segments of one timeframe, a row each ``(m,)``; ``label`` by name; ``remaining`` bars, NaN of all but the newest.

    ``follows``: the likeliest next label and its chance; ``mode``: ``filtered`` or ``smoothed``; ``lag`` in bars.
    """

    timeframe: str
    start: Times
    end: Times
    label: tuple[str, ...]
    mean_probability: Floats
    least_probability: Floats
    age: Times
    remaining: Floats
    confirmed: NDArray[np.bool_]
    follows: tuple[tuple[str, float], ...]
    mode: str
    lag: int
    model: str

    def __post_init__(self) -> None:
        columns = (
            self.end,
            self.label,
            self.mean_probability,
            self.least_probability,
            self.age,
            self.remaining,
            self.confirmed,
            self.follows,
        )
        if {len(column) for column in columns} != {len(self.start)}:
            raise DataError(
                f"report: the segments of {self.timeframe} have columns of different lengths: give one value of each to a segment"
            )


@dataclass(frozen=True, eq=False)
class RegimeView:
    """One symbol: candles of the finest timeframe ``(n,)``, ``probabilities`` ``(n, K)`` of its ``labels``, a band for each timeframe.

    ``across``: in words what each timeframe shows at the last close; ``pairs``: how often two timeframes showed which labels; ``alarms``:
    bars out of the ordinary at any of its timeframes, the oldest first.
    """

    symbol: str
    timeframe: str
    open_time: Times
    close_time: Times
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    labels: tuple[str, ...]
    probabilities: Floats
    bands: tuple[BandView, ...]
    across: str = ""
    pairs: tuple[LabelPair, ...] = ()
    simulated: bool = False
    alarms: tuple[Alarm, ...] = ()


def colours(labels: Sequence[str]) -> dict[str, str]:
    """A named colour for each label: the default vocabulary has its own, others take the rest of the palette in alphabetical order.

    >>> colours(["volatile", "quiet", "bullish", "crash"])
    {'bullish': '@regime0', 'volatile': '@regime3', 'crash': '@regime4', 'quiet': '@regime5'}
    """
    given = set(labels)
    found = {name: f"@regime{k}" for k, name in enumerate(REGIME_LABELS) if name in given}
    others = sorted(given - set(REGIME_LABELS))
    first = len(REGIME_LABELS)
    return found | {name: f"@regime{first + k % (PALETTE - first)}" for k, name in enumerate(others)}


def regime_views(
    readings: Sequence[RegimeReading], candles: Sequence[Candles], tables: Sequence[SegmentTable], alarms: Sequence[Alarm] = ()
) -> tuple[RegimeView, ...]:
    """Views of readings by symbol: each needs the candles of its finest timeframe, and the segments table of each reading.

    ``alarms`` of any symbol are marked where they are.

    UsageError when one is lacking, DataError when candles and reading are of other bars.
    """
    if not readings:
        raise UsageError("there is no reading to draw: give at least one")
    views = []
    for symbol in dict.fromkeys(one.symbol for one in readings):
        own = sorted((one for one in readings if one.symbol == symbol), key=lambda one: one.timeframe)
        finest = own[0]
        market = next((c for c in candles if (c.symbol, c.timeframe) == (symbol, finest.timeframe)), None)
        if market is None:
            raise UsageError(f"there are no {finest.timeframe} candles of {symbol} to draw its regimes under: give those that were read")
        if not np.array_equal(market.open_time, finest.open_time):
            raise DataError(f"{symbol} {finest.timeframe}: candles and reading are of other bars: give the candles that were read")
        bands = tuple(_band(one, tables) for one in own)
        across = consistency(own)
        told = str(across.words[-1]) if len(across) else ""
        odd = tuple(sorted((one for one in alarms if one.symbol == symbol), key=lambda one: one.close_ms))
        views.append(
            RegimeView(
                symbol, finest.timeframe.name, market.open_time, market.close_time, market.open, market.high, market.low, market.close,
                finest.labels, finest.probabilities, bands, told, across.pairs, market.simulated, odd,
            )
        )  # fmt: skip
    return tuple(views)


def _band(reading: RegimeReading, tables: Sequence[SegmentTable]) -> BandView:
    key = (reading.symbol, reading.timeframe, reading.mode)
    table = next((one for one in tables if (one.symbol, one.timeframe, one.mode) == key), None)
    if table is None:
        raise UsageError(f"there is no segments table of {reading.symbol} {reading.timeframe}: make it with segment_rows")
    follows = [(table.labels[int(np.argmax(row))], float(row.max())) for row in table.next_probabilities]
    return BandView(
        reading.timeframe.name, table.start, table.end, table.names, table.mean_probability, table.least_probability, table.age,
        table.expected_remaining, table.confirmed, tuple(follows), reading.mode, reading.lag, reading.model,
    )  # fmt: skip
