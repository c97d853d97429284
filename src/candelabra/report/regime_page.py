"""`regime_page`: readings as a page of their own, one file that asks nobody for anything."""

from __future__ import annotations

from collections.abc import Sequence

from candelabra.candles.frame import Candles
from candelabra.regimes.anomaly_alarms import Alarm
from candelabra.regimes.reading import RegimeReading
from candelabra.regimes.segment_table import SegmentTable
from candelabra.report import digits, regimes
from candelabra.report.markup import escape, note
from candelabra.report.page import NO_SCRIPT, document
from candelabra.report.regime_view import RegimeView, regime_views
from candelabra.report.verdict import SIMULATED

__all__ = ["regime_page"]


def regime_page(
    readings: Sequence[RegimeReading], candles: Sequence[Candles], tables: Sequence[SegmentTable], alarms: Sequence[Alarm] = ()
) -> str:
    """HTML of the regimes of every symbol: now, coloured under candles at each timeframe, across timeframes, every segment.

    ``candles``: those of each symbol's finest timeframe at least; ``tables``: `segment_table.segment_rows` of each reading; ``alarms``:
    bars to mark, with their reasons. UsageError when a table is lacking or filtered and smoothed readings are mixed, DataError when candles
    and readings do not fit.
    """
    views = regime_views(readings, candles, tables, alarms)
    section = regimes.drawn(views)
    body = note("There is no bar to draw.") if section is None else f'<section id="{section.key}" class="first">{section.body}</section>'
    title = f"{', '.join(view.symbol for view in views[:3])} · regimes"
    return document(title, f"<main>{_head(views)}{NO_SCRIPT}{body}</main>")


def _head(views: tuple[RegimeView, ...]) -> str:
    simulated = any(view.simulated for view in views)
    names = ", ".join(view.symbol for view in views[:6]) + (f" and {len(views) - 6} more" if len(views) > 6 else "")
    bands = [band for view in views for band in view.bands]
    facts = [
        ("Timeframes", ", ".join(dict.fromkeys(band.timeframe for band in bands))),
        ("Reading", ", ".join(dict.fromkeys(f"{band.mode}, {band.lag} bars late" if band.lag else band.mode for band in bands))),
        ("Model", ", ".join(dict.fromkeys(band.model for band in bands if band.model)) or digits.DASH),
    ]
    ends = [int(view.close_time[-1]) for view in views if len(view.close)]
    if ends:
        facts.append(("Last close", f"{digits.moment(max(ends))} UTC"))
    shown = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    banner = f'<p class="banner" role="note"><b>Simulated market.</b> {escape(SIMULATED)}</p>' if simulated else ""
    title = f'<p class="eyebrow">candelabra regimes</p><h1>{escape(names)}</h1>'
    return f'{banner}<header class="top">{title}<dl class="facts">{shown}</dl></header>'
