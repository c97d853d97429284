"""The questions a review asks of a learning set, one function each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from candelabra.candles.frame import Candles, format_minute, format_time
from candelabra.regimes.learning_set import CONSENSUS, LearningSet
from candelabra.regimes.segmentation import Segmentation

__all__ = [
    "Finding",
    "beyond_candles",
    "classes",
    "disagreement",
    "few_segments",
    "missing_in_train",
    "odd_words",
    "over_cuts",
    "single_bars",
    "too_early",
]

Severity = Literal["unusable", "doubtful", "note"]
_HOUR: Final = 3_600_000
_MOST_ZONE: Final = 14 * _HOUR
_APART: Final = 0.3
"""Share of time in which two annotators may differ before their labels are doubtful."""
_SINGLE: Final = 0.25
_RARE: Final = 0.01


@dataclass(frozen=True)
class Finding:
    """What was found of a market (empty: of the file), how bad, and what to do; ``row`` in the file (0: none), ``count`` of such."""

    kind: str
    severity: Severity
    market: str
    text: str
    remedy: str
    row: int = 0
    count: int = 1


def odd_words(learning_set: LearningSet) -> list[Finding]:
    """Labels that differ in case, blanks or underscores only."""
    seen: dict[str, list[str]] = {}
    for label in learning_set.labels:
        seen.setdefault("".join(label.lower().replace("_", " ").replace("-", " ").split()), []).append(label)
    return [
        Finding("spelling", "doubtful", "", f"{' and '.join(map(repr, same))} count as different labels", "write one of them throughout")
        for same in seen.values()
        if len(same) > 1
    ]


def classes(one: Segmentation, labels: Sequence[str]) -> list[Finding]:
    """One class only; classes of the set that this market has none of, or next to none."""
    market = _market(one)
    there = sorted(set(one.names))
    if len(there) == 1:
        agreed = " that the annotators agree on" if one.annotator == CONSENSUS else ""
        text = f"every segment{agreed} is {there[0]}: there is nothing to tell apart"
        return [Finding("one class", "unusable", market, text, "label the stretches between them too, or train on another timeframe")]
    found = []
    bars = one.bars
    for label in labels:
        share = float(bars[np.array([name == label for name in one.names], bool)].sum()) / max(1, int(bars.sum()))
        if label not in there:
            found.append(Finding("missing class", "note", market, f"no segment is {label}", "a model will not learn it at this timeframe"))
        elif share < _RARE:
            found.append(
                Finding("rare class", "note", market, f"{label} is {share:.2%} of the labelled time", "label more of it, or merge it")
            )
    return found


def missing_in_train(one: Segmentation, cuts_ms: Sequence[int]) -> list[Finding]:
    """Classes that no segment known by the end of the train part has."""
    if len(cuts_ms) < 2:
        return []
    known = (one.known_at <= cuts_ms[1]) & (one.end > cuts_ms[0])
    before = {one.labels[int(c)] for c in one.code[known]}
    lacking = [label for label in sorted(set(one.names)) if label not in before]
    if not lacking:
        return []
    row = next(k for k, name in enumerate(one.names) if name in lacking)
    text = (
        f"{', '.join(lacking)} is in no segment known by the end of the train part ({format_minute(cuts_ms[1])}); the first begins "
        f"{format_time(int(one.start[row]))}"
    )
    remedy = "label earlier candles too, or give the train part a larger share"
    if (one.end[np.isin(one.code, [one.labels.index(name) for name in lacking])] <= cuts_ms[1]).any():
        remedy = "those before it are known too late: label with a method that does not read the whole series, or correct known_at"
    return [Finding("missing in train", "unusable", _market(one), text, remedy)]


def few_segments(segmentations: Sequence[Segmentation], least: int) -> list[Finding]:
    """Timeframes with fewer segments, over all symbols, than a model needs to beat a plain rule."""
    count: dict[str, int] = {}
    for one in sorted(segmentations, key=lambda s: s.timeframe):
        count[one.timeframe.name] = count.get(one.timeframe.name, 0) + len(one)
    return [
        Finding(
            "few segments", "note", frame, f"{n} segments: fewer than about {least}",
            "a model that learns from these alone rarely beats a trailing rule: add symbols or years, or train the timeframes together",
        )
        for frame, n in count.items()
        if n < least
    ]  # fmt: skip


def too_early(one: Segmentation) -> list[Finding]:
    """Segments said to be known before their last bar has closed."""
    early = np.flatnonzero(one.known_at < one.end)
    if not len(early):
        return []
    k = int(early[0])
    first, end = format_time(int(one.known_at[k])), format_time(int(one.end[k]))
    text = f"{len(early)} segments are known before they end, the first at {first}, its end {end}"
    return [
        Finding(
            "known early", "doubtful", _market(one), text, "a label drawn with hindsight is known at its end or later: correct known_at"
        )
    ]


def single_bars(one: Segmentation) -> list[Finding]:
    """Many segments of a single bar: flicker rather than regimes."""
    single = int((one.bars == 1).sum())
    if len(one) < 4 or single <= _SINGLE * len(one):
        return []
    text = f"{single} of {len(one)} segments are one bar long"
    return [Finding("flicker", "note", _market(one), text, "a regime lasts: label at a finer timeframe, or set a least run")]


def beyond_candles(one: Segmentation, candles: Sequence[Candles]) -> list[Finding]:
    """Labels of time that the candles do not have; by one and the same shift at both ends it is another time zone."""
    if not candles or not len(one):
        return []
    own = [c for c in candles if c.symbol == one.symbol and len(c)]
    market = _market(one)
    if not own:
        text = f"there are no candles of {one.symbol} (there are {', '.join(sorted({c.symbol for c in candles}))})"
        return [Finding("no candles", "doubtful", market, text, "give its candles too, or spell the symbol as they do")]
    first, last = min(int(c.open_time[0]) for c in own), max(int(c.close_time[-1]) for c in own)
    before, after = int(one.start[0]) - first, int(one.end[-1]) - last
    if before == after != 0 and abs(before) <= _MOST_ZONE:
        text = f"labels begin and end {abs(before) / _HOUR:g} h {'later' if before > 0 else 'earlier'} than the candles"
        return [Finding("time zone", "doubtful", market, text, "are they in another zone than UTC? name it (--time-zone), or write UTC")]
    outside = (one.start < one.timeframe.floor(first)) | (one.end > one.timeframe.ceil(last))
    if not outside.any():
        return []
    k = int(np.argmax(outside))
    text = (
        f"{int(outside.sum())} segments reach beyond the candles ({format_time(first)} .. {format_time(last)}), the first "
        f"{format_time(int(one.start[k]))} .. {format_time(int(one.end[k]))}"
    )
    return [
        Finding(
            "beyond the candles", "doubtful", market, text, "give the candles of that time, or cut the labels", count=int(outside.sum())
        )
    ]


def over_cuts(one: Segmentation, cuts_ms: Sequence[int]) -> list[Finding]:
    """Segments that begin in one part of the split and are known only in a later one: masked where they would leak."""
    found = 0
    span = 0
    for cut in list(cuts_ms)[1:-1]:
        across = (one.start < cut) & (one.known_at > cut)
        found += int(across.sum())
        span += int((np.minimum(one.end, cut) - one.start)[across].sum())
    if not found:
        return []
    text = f"{found} segments are known only after a cut of the split that they begin before ({span / _HOUR / 24:.4g} days before the cuts)"
    return [Finding("across the split", "note", _market(one), text, "their bars before the cut are masked: nothing to do", count=found)]


def disagreement(symbol: str, timeframe: str, annotators: tuple[str, str], share: float, cover: float) -> list[Finding]:
    """Annotators who differ in much of the time."""
    market = f"{symbol} {timeframe}"
    who = " and ".join(name or "nobody named" for name in annotators)
    if np.isnan(share):
        return [Finding("annotators", "note", market, f"{who} labelled no bar in common", "they cannot be compared")]
    if share <= _APART:
        return []
    text = f"{who} differ in {share:.0%} of the time both labelled (covering {cover:.2f})"
    return [Finding("annotators", "doubtful", market, text, "talk the labels over; the consensus leaves ties unlabelled")]


def _market(one: Segmentation) -> str:
    by = f" by {one.annotator}" if one.annotator not in ("", CONSENSUS) else ""
    return f"{one.symbol} {one.timeframe}{by}"
