"""`check_labeller`: what a hindsight labeller promises, checked on a small simulated market."""

from __future__ import annotations

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.errors import DataError
from candelabra.evaluation.causality import Probe, audit_future
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.subjects import labeller_subject
from candelabra.evaluation.worlds import Market
from candelabra.regimes.labeller import Labeller, new_labeller
from candelabra.regimes.segmentation import Segmentation
from candelabra.testing.broken import require
from candelabra.testing.markets import example_candles

__all__ = ["check_labeller"]


def check_labeller(labeller: str | Labeller, *, candles: Candles | None = None, seed: int = 0) -> Segmentation:
    """LawBroken, with what, where and by how much, unless the labeller keeps its promises; the segments it made of ``candles``.

    - it is a frozen dataclass, and gives the same segments when asked again;
    - the segments are those of the candles' symbol and timeframe, with labels it said it gives, by its own name;
    - ``known_at`` is true: changing, cutting or adding candles that close later moves the label of no bar of a segment known by then;
    - its reach holds: a segment is known at the close of its last bar at the earliest, and ``reach.bars`` bars later at the latest;
    - too few candles, and prices that never move, are labelled or refused with a DataError.

    ``labeller``: itself, or the name of a registered one (with its default settings). ``candles``: default a simulated hourly market with
    gaps.

    >>> len(check_labeller("zigzag")) > 5
    True
    """
    chosen = new_labeller(labeller) if isinstance(labeller, str) else labeller
    market = example_candles(bars=1_600) if candles is None else candles
    name = chosen.name
    parameters = getattr(chosen, "__dataclass_params__", None)
    frozen = parameters is not None and bool(parameters.frozen)
    require(frozen, f"{name}: {type(chosen).__name__} is no frozen dataclass: the same labeller must give the same labels")
    made = chosen.label(market)
    require(isinstance(made, Segmentation), f"{name}: label() gave a {type(made).__name__}, not a Segmentation")
    require(len(made) > 0, f"{name}: no segment in {len(market):,} bars: check it on candles long enough for its settings")
    place = (made.symbol, made.timeframe) == (market.symbol, market.timeframe)
    require(place, f"{name}: labels of {made.symbol} {made.timeframe} came back for {market.symbol} {market.timeframe}")
    require(made.labels == tuple(chosen.labels), f"{name}: it said it gives {chosen.labels}, and gave {made.labels}")
    require(made.annotator == name, f"{name}: its segments name {made.annotator!r} as annotator")
    _check_again(made, chosen.label(market), name)
    _check_reach(chosen, made, market)
    probe = Probe.start(labeller_subject(chosen), Market.of(market), seed)
    findings = audit_future(probe, Effort.light() if chosen.reach.whole else Effort())
    require(not findings, f"{name}: {'; '.join(f.words for f in findings)}")
    _check_little(chosen, market)
    return made


def _check_again(made: Segmentation, again: Segmentation, name: str) -> None:
    same = all(
        np.array_equal(getattr(made, column), getattr(again, column)) for column in ("start", "end", "code", "confidence", "known_at")
    )
    require(same, f"{name}: asked twice, it gives other segments: it keeps a state or draws at random")


def _check_reach(labeller: Labeller, made: Segmentation, market: Candles) -> None:
    early = made.known_at < made.end
    require(not early.any(), f"{labeller.name}: segment {int(np.argmax(early))} is known before its last bar has closed")
    bars = labeller.reach.bars
    if bars is not None:
        last = np.searchsorted(market.open_time, made.end) - 1
        latest = market.close_time[np.minimum(last + bars, len(market) - 1)]
        late = made.known_at > latest
        if late.any():
            row = int(np.argmax(late))
            after = int(np.searchsorted(market.close_time, made.known_at[row])) - int(last[row])
            require(False, f"{labeller.name}: segment {row} is known {after} bars after its last; its reach says {labeller.reach}")


def _check_little(labeller: Labeller, market: Candles) -> None:
    for few in (market.rows(slice(0, 0)), market.rows(slice(0, 2)), _still(market)):
        try:
            labeller.label(few)
        except DataError:
            continue
        except Exception as error:
            require(False, f"{labeller.name}: {len(few)} bars raise {type(error).__name__}: {error}: refuse them with a DataError")


def _still(market: Candles) -> Candles:
    rows = slice(0, 400)
    price = np.full(len(market.rows(rows)), 7.25)
    return Candles.of(market.symbol, market.timeframe, market.open_time[rows], price, price, price, price, np.zeros(len(price)))
