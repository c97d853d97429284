"""Bars that are out of the ordinary, on the picture of regimes: marks over their candles and on the bands, and a list with the reasons."""

from __future__ import annotations

from typing import Final

import numpy as np

from candelabra.candles.timeframe import timeframe
from candelabra.regimes.anomaly_alarms import Alarm
from candelabra.report import digits
from candelabra.report.charts import Spec, column, label, times
from candelabra.report.markup import caption, number, table, words
from candelabra.report.regime_view import RegimeView

__all__ = ["alarm_list", "alarm_marks"]

MOST_MARKS: Final = 1_000  # of a timeframe
MOST_LISTED: Final = 200
_ABOVE: Final = 0.02  # of the height of the prices shown


def alarm_marks(view: RegimeView, since: int, low: float, high: float) -> list[Spec]:
    """Traces of the alarms that close after ``since``: those of the finest timeframe over its prices, the others on their bands.

    ``low``, ``high``: of the prices shown. The first trace speaks for all in the legend.
    """
    found: list[Spec] = []
    for place, band in enumerate(view.bands):
        own = [one for one in view.alarms if one.timeframe == band.timeframe and one.close_ms > since][-MOST_MARKS:]
        if not own:
            continue
        trace: Spec = {
            "type": "scatter", "mode": "markers", "name": "out of the ordinary", "legendgroup": "out of the ordinary",
            "x": times([(one.open_ms + one.close_ms) // 2 for one in own]), "customdata": [_told(one) for one in own],
            "hovertemplate": "<b>out of the ordinary</b> %{customdata[0]}<br>%{customdata[1]}<extra></extra>", "showlegend": not found,
            "hoverlabel": {"align": "left"},
        }  # fmt: skip
        marker: Spec = {"color": "@ours", "line": {"color": "@paper", "width": 1}}
        if place == 0:
            rows = np.searchsorted(view.open_time, [one.open_ms for one in own])
            lift = high / low if high > 3 * low else 1.0  # over a logarithmic axis
            top = view.high[rows] * lift**_ABOVE if lift > 1 else view.high[rows] + _ABOVE * (high - low)
            found.append(trace | {"yaxis": "y2", "y": column(top, 6), "marker": marker | {"symbol": "triangle-down", "size": 10}})
        else:
            found.append(trace | {"yaxis": "y3", "y": [-place] * len(own), "marker": marker | {"symbol": "diamond", "size": 9}})
    return found


def alarm_list(view: RegimeView) -> str:
    """The newest alarms as a table with their reasons; nothing when there are none."""
    if not view.alarms:
        return ""
    shown = sorted(view.alarms, key=lambda one: (one.close_ms, timeframe(one.timeframe)))[: -MOST_LISTED - 1 : -1]
    rows = [
        [
            words(one.timeframe),
            words(digits.moment(one.open_ms), "nowrap"),
            words(one.component.replace("_", " ")),
            number(digits.fixed(one.surprise, 1), one.surprise),
            words(_why(one)),
        ]
        for one in shown
    ]
    head = ("Timeframe", "Bar", "Most by", "Surprise", "Why")
    tips = ("", "its open, UTC", "the component that says most", "10 to the power of it: one bar in so many", "")
    some = f"The newest {len(rows):,} of {len(view.alarms):,}" if len(rows) < len(view.alarms) else f"All {len(rows):,}"
    says = "flagged at the close of its bar by what was usual until then; a stated share of them are false alarms"
    listed = table(head, rows, css="tall", sortable=True, explanations=tips) + caption(f"{some} alarms, newest first: each {says}.")
    return f"<details><summary>Out of the ordinary</summary>{listed}</details>"


def _told(one: Alarm) -> list[str]:
    """Timeframe, and time and reasons a line each."""
    parts = [digits.moment(one.open_ms), *_why(one).split(", ")]
    return [label(one.timeframe), "<br>".join(label(part) for part in parts)]


def _why(one: Alarm) -> str:
    """The reason without its time."""
    return one.reason.partition(": ")[2] or one.reason
