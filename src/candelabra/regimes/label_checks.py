"""What can be wrong with rows of labels whose single values are well: order, ends, overlaps, words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.candles.raw import NO_TIME
from candelabra.regimes.label_rows import Flaw, LabelRows
from candelabra.registry import did_you_mean

__all__ = ["endless", "overlapping", "repeated", "reversed_", "unknown_labels"]


def reversed_(rows: LabelRows, group: NDArray[np.int64]) -> list[Flaw]:
    """Rows that end before or where they begin; they, as all below, are marked as not good."""
    bad = group[(rows.end[group] != NO_TIME) & (rows.end[group] < rows.start[group])]
    same = group[(rows.end[group] != NO_TIME) & (rows.end[group] == rows.start[group])]
    found = []
    for members, why in ((bad, "ends before it begins"), (same, "ends where it begins")):
        if len(members):
            k = int(members[0])
            rows.good[members] = False
            text = f"{rows.name(k)}: {format_time(int(rows.start[k]))} .. {format_time(int(rows.end[k]))} {why}"
            text += f" ({len(members)} such rows)" if len(members) > 1 else ""
            remedy = "`end` is the open time of the first bar after the segment: exchange the two, or mend one"
            found.append(Flaw("reversed", int(rows.row[k]), text, remedy, len(members)))
    return found


def endless(rows: LabelRows, group: NDArray[np.int64]) -> list[Flaw]:
    """Rows with a label and no end."""
    bad = group[rows.end[group] == NO_TIME]
    if not len(bad):
        return []
    k = int(bad[0])
    rows.good[bad] = False
    text = f"{rows.name(k)}: {rows.label[k]} from {format_time(int(rows.start[k]))} has no end"
    text += f" ({len(bad)} such rows)" if len(bad) > 1 else ""
    return [Flaw("unreadable", int(rows.row[k]), text, "give its end, or leave its label empty if it is a change point", len(bad))]


def overlapping(rows: LabelRows, group: NDArray[np.int64], market: str, annotator: str) -> list[Flaw]:
    """Of rows in order of their start, those that begin before a kept one has ended; each is a flaw of its own."""
    found = []
    last = -1
    for k in map(int, group):
        if last >= 0 and rows.start[k] < rows.end[last]:
            rows.good[k] = False
            until = format_time(int(min(rows.end[k], rows.end[last])))
            text = (
                f"{rows.name(k)}: {rows.label[k]} of {market} overlaps {rows.unit} {int(rows.row[last])} ({rows.label[last]}) from "
                f"{format_time(int(rows.start[k]))} to {until}"
            )
            remedy = "a bar has one label at a timeframe: mend one of them"
            remedy += "" if annotator else ", or name who drew each in a column annotator"
            found.append(Flaw("overlap", int(rows.row[k]), text, remedy))
        else:
            last = k
    return found


def repeated(rows: LabelRows, group: NDArray[np.int64], market: str, annotator: str) -> list[Flaw]:
    """Bars, in order of time, that are labelled twice."""
    again = np.flatnonzero(np.diff(rows.start[group]) == 0) + 1
    if not len(again):
        return []
    k, before = int(group[again[0]]), int(group[again[0] - 1])
    rows.good[group[again]] = False
    text = (
        f"{rows.name(k)}: the bar {format_time(int(rows.start[k]))} of {market} is labelled again after {rows.unit} {int(rows.row[before])}"
    )
    text += f" ({len(again)} such rows)" if len(again) > 1 else ""
    remedy = "keep one row a bar" + ("" if annotator else ", or name who labelled each in a column annotator")
    return [Flaw("overlap", int(rows.row[k]), text, remedy, len(again))]


def unknown_labels(rows: LabelRows, labels: Sequence[str] | None) -> list[Flaw]:
    """Labels outside a vocabulary that was given, each once."""
    if labels is None:
        return []
    found: dict[str, list[int]] = {}
    for k, name in enumerate(rows.label):
        if name is not None and name not in labels:
            found.setdefault(name, []).append(k)
            rows.good[k] = False
    return [
        Flaw(
            "unknown label", int(rows.row[places[0]]),
            f"{rows.name(places[0])}: the label {name!r} is not in the vocabulary {', '.join(labels)}"
            + (f" ({len(places)} such rows)" if len(places) > 1 else ""),
            did_you_mean(name, list(labels)), len(places),
        )
        for name, places in found.items()
    ]  # fmt: skip
