"""A review of labels for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from candelabra.cli.console import out, table

if TYPE_CHECKING:
    from candelabra.regimes.review import LabelReview

__all__ = ["show_review"]

_STYLES: Final = {"unusable": "red", "doubtful": "yellow", "good": "green"}


def show_review(told: LabelReview) -> None:
    """Tables of segments, labels and annotators, then every finding and the verdict."""
    console = out()
    if told.segmentations:
        _segments(told)
    for market, count in told.change_points.items():
        console.print(f"{market}: {count:,} change points without labels: boundaries are learned from them, labels are not")
    if told.disagreements:
        rows = []
        for d in told.disagreements:
            cover = f"{d.covering[0]:.3f} / {d.covering[1]:.3f}"
            rows.append((d.symbol, d.timeframe, " / ".join(d.annotators), f"{d.differing:.1%}", cover))
        columns = ("symbol", "timeframe", "annotators", "differ in", "covering")
        console.print(table(columns, rows, numbers=columns[3:]))
    for finding in told.findings:
        where = f"{finding.market}: " if finding.market else ""
        line = f"{finding.severity}: {where}{finding.text}: {finding.remedy}"
        console.print(line, style=_STYLES.get(finding.severity), soft_wrap=True)
    if told.segmentations:
        wait = f"{told.purge_ms / 3_600_000:,.0f} h"
        console.print(f"longest wait: {wait} from the close of a segment's first bar until all of it is known, the purge of a split")
    console.print(f"verdict: {told.verdict}", style=_STYLES.get(told.verdict, "yellow"))


def _segments(told: LabelReview) -> None:
    rows: list[tuple[str, ...]] = []
    for one in told.segmentations:
        gaps = f"{one.unlabelled:.1%}" + (f" in {one.gaps:,}" if one.gaps else "")
        place = (one.symbol, one.timeframe, one.annotator)
        rows.append((*place, f"{one.segments:,}", one.first, one.last, gaps, f"{one.hindsight_bars:,}"))
    columns = ("symbol", "timeframe", "annotator", "segments", "from (UTC)", "to", "unlabelled", "longest wait (bars)")
    out().print(table(columns, rows, numbers=("segments", "unlabelled", "longest wait (bars)")))
    rows = []
    for one in told.segmentations:
        for label in (label for label in told.labels if one.counts[label]):
            low, middle, high, longest = one.durations[label]
            figures = (f"{one.counts[label]:,}", f"{one.shares[label]:.1%}", f"{low:g}", f"{middle:g}", f"{high:g}", f"{longest:,}")
            rows.append((one.symbol, one.timeframe, one.annotator, label, *figures))
    names = ("symbol", "timeframe", "annotator", "label", "segments", "of time", "10 %", "median", "90 %", "longest (bars)")
    out().print(table(names, rows, numbers=names[4:]))
