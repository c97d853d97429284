"""`coverage_page`: a square per day and series, coloured by what is there and why the rest is not; drawn without a script."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.report import digits
from candelabra.report.markup import caption, escape, note, number, table, words
from candelabra.report.verdict import SIMULATED
from candelabra.sources.coverage import ABSENCES, Coverage

__all__ = ["coverage_body"]

_COLOURS: Final = {"not fetched": "#9aa5b1", "exchange gap": "#d1495b", "no trade": "#3f88c5", "unknown": "#8b5fbf"}
_WHOLE: Final = "#8fc7a3"
_SIZE, _STEP, _LEFT, _TOP = 13, 15, 48, 18
_STRIP: Final = 7 * _STEP + 24
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MEANING: Final = {
    "not fetched": "nobody asked for them yet",
    "exchange gap": "the exchange was asked, more than once, and has none",
    "no trade": "nothing traded, and this exchange leaves such bars out",
    "unknown": "files do not say why",
}


def coverage_body(coverages: Sequence[Coverage], notes: Sequence[str] = ()) -> str:
    """HTML (for `page.write_plain`): a table of series, then a calendar of each; ``notes``: sentences to put beside the table."""
    head = ("Series", "Bars", "Present", *(kind.capitalize() for kind in ABSENCES), "Repaired", "Revised")
    rows = []
    for one in coverages:
        present, expected = int(one.present.sum()), int(one.expected.sum())
        share = present / expected if expected else float("nan")
        reasons = [number(digits.count(one.bars(kind)), one.bars(kind)) for kind in ABSENCES]
        rows.append(
            [
                words(one.name, "strong"), number(digits.count(present), present), number(digits.percent(share, 3), share), *reasons,
                number(digits.count(one.bars("repaired"))), number(digits.count(one.revisions)),
            ]
        )  # fmt: skip
    simulated = (
        f'<p class="banner" role="note"><b>Simulated market.</b> {escape(SIMULATED)}</p>' if any(c.simulated for c in coverages) else ""
    )
    intro = '<header class="top"><p class="eyebrow">candelabra coverage</p><h1>What is there, and why the rest is not</h1></header>'
    drawn = "".join(f"<section><h2>{escape(one.name)}</h2>{_calendar(one)}</section>" for one in coverages)
    says = caption(
        "A gap is recorded and never filled. Point at a square for its day; the paler a coloured square, the fewer bars it lacks."
    )
    return f"{simulated}{intro}{table(head, rows)}{''.join(note(text) for text in notes)}{_legend()}{says}{drawn}"


def _legend() -> str:
    entries = [("whole", _WHOLE, "every bar is there")] + [(kind, _COLOURS[kind], _MEANING[kind]) for kind in ABSENCES]
    return '<ul class="ranges">' + "".join(
        f'<li><svg width="12" height="12" aria-hidden="true"><rect width="12" height="12" rx="3" fill="{colour}"/></svg> '
        f"<b>{escape(name)}</b><small>{escape(meaning)}</small></li>"
        for name, colour, meaning in entries
    ) + "</ul>"  # fmt: skip


def _calendar(one: Coverage) -> str:
    """A strip per year: a column per week, a row per day of the week."""
    if not len(one.days):
        return note("Nothing was fetched.")
    dates = one.days.astype("datetime64[ms]").astype("datetime64[D]")
    years = dates.astype("datetime64[Y]")
    strip, column, weekday = (years - years[0]).astype(int), *_place(dates)
    lacks = np.stack([one.absent[kind] for kind in ABSENCES])
    worst, expected = lacks.argmax(axis=0), one.expected
    drawn = []
    for k in np.flatnonzero(expected > 0).tolist():
        missing = int(lacks[:, k].sum())
        says = f"{dates[k]}: {int(one.present[k]):,} of {int(expected[k]):,} bars"
        says += "".join(f", {int(lacks[i, k]):,} {kind}" for i, kind in enumerate(ABSENCES) if lacks[i, k])
        share = missing / int(expected[k])
        look = f'fill="{_WHOLE}"' if not missing else f'fill="{_COLOURS[ABSENCES[worst[k]]]}" fill-opacity="{0.4 + 0.6 * share:.2f}"'
        at = f'x="{_LEFT + _STEP * column[k]}" y="{_TOP + _STRIP * strip[k] + _STEP * weekday[k]}"'
        drawn.append(f'<rect {at} width="{_SIZE}" height="{_SIZE}" rx="3" {look}><title>{escape(says)}</title></rect>')
    firsts = np.flatnonzero(dates == dates.astype("datetime64[M]").astype("datetime64[D]"))
    for k in firsts.tolist():
        month = _MONTHS[int(dates[k].astype("datetime64[M]").astype(int)) % 12]
        drawn.append(f'<text x="{_LEFT + _STEP * (column[k] + (weekday[k] > 0))}" y="{_TOP + _STRIP * strip[k] - 4}">{month}</text>')
    for number_, year in enumerate(np.unique(years)):
        drawn.append(f'<text x="{_LEFT - 8}" y="{_TOP + _STRIP * number_ + 4 * _STEP - 5}" text-anchor="end">{year}</text>')
    width, height = _LEFT + _STEP * 54, _TOP + _STRIP * (int(strip[-1]) + 1)
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Coverage calendar of {escape(one.name)}" style="max-width:100%;height:auto;font-size:11px" fill="currentColor">'
        f"{''.join(drawn)}</svg>"
    )


def _place(dates: NDArray[np.datetime64]) -> tuple[list[int], list[int]]:
    """Week of the year and day of the week (Monday first) of each day."""
    first = dates.astype("datetime64[Y]").astype("datetime64[D]")
    weekday, offset = (dates.astype(int) + 3) % 7, (first.astype(int) + 3) % 7
    return (((dates - first).astype(int) + offset) // 7).tolist(), weekday.tolist()
