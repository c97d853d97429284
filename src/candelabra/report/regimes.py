"""Regimes at every timeframe: what they are now, coloured under the candles, whether timeframes contradict, the segments."""

from __future__ import annotations

import math

from candelabra.report import digits
from candelabra.report.inputs import ReportInputs
from candelabra.report.markup import Cell, Section, caption, choices, figure, note, number, table, words
from candelabra.report.regime_alarms import alarm_list
from candelabra.report.regime_figure import MOST_CANDLES, figure_spec
from candelabra.report.regime_scores import drawn_scores
from candelabra.report.regime_view import BandView, RegimeView, colours

__all__ = ["drawn", "section"]

MOST_SEGMENTS = 200
MOST_PAIRS = 12
FILTERED = (
    "Filtered: the label of a bar is said at its close, from candles that were closed by then, and is never taken back. It is late where "
    "a regime has just changed; that is the price of not knowing the future."
)
LAGGED = (
    "Fixed lag: the label of a bar is said some bars later, and then never taken back. Hatched segments lie within the lag and may yet "
    "vanish."
)
SMOOTHED = (
    "Smoothed: looking back from the end of the candles. This is hindsight, for charts and for labelling; nobody could have traded on it, "
    "and with more candles the newest segment (hatched) may look otherwise."
)


def section(inputs: ReportInputs) -> Section | None:
    """The regimes of every symbol; nothing when there are none."""
    return drawn(inputs.regimes, drawn_scores(inputs.regime_scores))


def drawn(views: tuple[RegimeView, ...], scores: str = "") -> Section | None:
    """The section of some views, ``scores`` (HTML) below the pictures; nothing when there are none with bars."""
    shown = [view for view in views if len(view.close)]
    if not shown:
        return None
    tone = colours([name for view in shown for band in view.bands for name in (*view.labels, *band.label)])
    modes = {(band.mode, band.lag > 0) for view in shown for band in view.bands}
    says = [text for key, text in ((("filtered", False), FILTERED), (("filtered", True), LAGGED)) if key in modes]
    says += [SMOOTHED] if any(mode == "smoothed" for mode, _ in modes) else []
    body = "".join(note(text, "aside") for text in says)
    body += choices("regime-symbol", [(view.symbol, _symbol(place, view, tone)) for place, view in enumerate(shown)], "Symbol") + scores
    return Section("regimes", "Regimes", "Regimes", body)


def _symbol(place: int, view: RegimeView, tone: dict[str, str]) -> str:
    now = f"<h3>Now</h3>{_now(view)}" + _across(view)
    title = f"{view.symbol} {view.timeframe} and its regimes"
    newest = figure(f"regimes-{place}", figure_spec(view, tone, newest=True), title, _says(view))
    pictures = [(f"Newest {min(len(view.close), MOST_CANDLES):,} bars", newest)]
    if len(view.close) > MOST_CANDLES:
        pictures.append(("All", figure(f"regimes-all-{place}", figure_spec(view, tone, newest=False), title, _says(view, whole=True))))
    return now + choices(f"regime-span-{place}", pictures, "Span") + _pairs(view) + alarm_list(view) + _segments(view)


def _across(view: RegimeView) -> str:
    """What the timeframes show together at the last close, in words."""
    if len(view.bands) < 2 or not view.across:
        return ""
    late, back = any(band.lag for band in view.bands), view.bands[0].mode == "smoothed"
    when = ", from labels that were said for good by then" if late else ", in hindsight" if back else ""
    return caption(f"At the last close{when}: {view.across}.")


def _says(view: RegimeView, *, whole: bool = False) -> str:
    price = "The close" if whole else "Candles (filled: falling)"
    means = ", as means of some bars each where there are many" if whole else ""
    odd = " Triangles and diamonds are bars out of the ordinary; touched, they say why." if view.alarms else ""
    return (
        f"{price} over the regimes of {view.timeframe}; below, a band for each timeframe, and probabilities of {view.timeframe}{means}. "
        "Times are UTC. The legend hides and shows a regime; the names are on the longer segments, the rest tell theirs when touched." + odd
    )


def _now(view: RegimeView) -> str:
    head = ("Timeframe", "Regime", "Since", "Bars", "Expected further", "Mean probability", "Least", "Likely next", "Status")
    tips = (
        "",
        "",
        "UTC",
        "closed candles in it",
        "bars, on average of regimes that got as old",
        "of the regime shown",
        "",
        "and its chance",
        "",
    )
    rows = [row for band in view.bands if (row := _newest(band))]
    return table(head, rows, explanations=tips)


def _newest(band: BandView) -> list[Cell]:
    if not len(band.start):
        return [words(band.timeframe, "strong"), words("nothing is said yet", "muted"), *[words("")] * 7]
    left = float(band.remaining[-1])
    name, chance = band.follows[-1]
    return [
        words(band.timeframe, "strong"),
        words(band.label[-1], "strong"),
        words(digits.moment(int(band.start[-1])), "nowrap"),
        number(f"{int(band.age[-1]):,}", float(band.age[-1])),
        number(digits.DASH if math.isnan(left) else f"{left:,.0f}", left),
        number(digits.fixed(float(band.mean_probability[-1]), 2)),
        number(digits.fixed(float(band.least_probability[-1]), 2)),
        words(f"{name} ({digits.percent(chance, 0)})" if chance > 0 else digits.DASH, "nowrap"),
        words("confirmed" if band.confirmed[-1] else "provisional"),
    ]


def _pairs(view: RegimeView) -> str:
    if not view.pairs:
        return ""
    kinds = list(dict.fromkeys((one.finer, one.coarser) for one in view.pairs))
    told = []
    for finer, coarser in kinds:
        share = sum(one.share for one in view.pairs if (one.finer, one.coarser) == (finer, coarser) and one.conflict)
        told.append(f"{finer} against {coarser} {digits.percent(share)} of the time")
    shown = sorted(view.pairs, key=lambda one: (not one.conflict, -one.share))[:MOST_PAIRS]
    rows = [
        [
            words(f"{one.finer} {one.finer_label} inside {one.coarser} {one.coarser_label}"),
            number(digits.percent(one.share), one.share),
            number(f"{one.bars:,}", one.bars),
            words(
                "contradiction" if one.conflict else "alike" if one.finer_label == one.coarser_label else "",
                "chip" if one.conflict else "muted",
            ),
        ]
        for one in shown
    ]
    drawn_ = table(
        ("Together", "Share of time", "Bars", ""), rows, css="narrow", row_css=["worse" if one.conflict else "" for one in shown]
    )
    says = "The label that the coarser timeframe had said by each close. Contradictions are common in markets: a rally inside a decline."
    return f"<h3>Timeframes beside each other</h3>{caption('; '.join(told) + '.')}{drawn_}{caption(says)}"


def _segments(view: RegimeView) -> str:
    head = ("Timeframe", "Start", "End", "Regime", "Bars", "Mean probability", "Least", "Status")
    rows: list[list[Cell]] = []
    for band in view.bands:
        for k in range(len(band.start) - 1, max(-1, len(band.start) - 1 - MOST_SEGMENTS // len(view.bands)), -1):
            rows.append(
                [
                    words(band.timeframe),
                    words(digits.moment(int(band.start[k])), "nowrap"),
                    words(digits.moment(int(band.end[k])), "nowrap"),
                    words(band.label[k]),
                    number(f"{int(band.age[k]):,}", float(band.age[k])),
                    number(digits.fixed(float(band.mean_probability[k]), 2), float(band.mean_probability[k])),
                    number(digits.fixed(float(band.least_probability[k]), 2), float(band.least_probability[k])),
                    words("confirmed" if band.confirmed[k] else "provisional", "" if band.confirmed[k] else "strong"),
                ]
            )
    count = sum(len(band.start) for band in view.bands)
    some = f"The newest {len(rows):,} of {count:,}" if len(rows) < count else f"All {count:,}"
    listed = table(head, rows, css="tall", sortable=True) + caption(f"{some} segments, newest first at each timeframe.")
    return f"<details><summary>Segments</summary>{listed}</details>"
