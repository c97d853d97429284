"""Predicted against actual close: the level plot everybody shows, and beside it the plot that can embarrass."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, label, layout, line, thin, times
from candelabra.report.inputs import CloseView, Floats, ReportInputs
from candelabra.report.markup import Section, choices, figure, note, pair

__all__ = ["level_r2", "return_r2", "section"]

MOST_ROWS = 6000  # over all symbols and horizons, so that the page stays small
HONEST = (
    "A plot of price levels always looks good: repeating the last known close gives the same picture. What was forecast is the move from "
    "there, so judge the scatter of returns on the right, and the verdict table above."
)


def section(inputs: ReportInputs) -> Section | None:
    """Per symbol and horizon: levels over time beside returns against each other."""
    views = [_known(v) for v in inputs.closes]
    views = [v for v in views if len(v.time_ms)]
    if not views:
        return None
    most = max(250, MOST_ROWS // len(views))
    drawn = [(f"{v.symbol} {v.horizon}", _pair(i, v, most)) for i, v in enumerate(views)]
    body = note(HONEST, "aside") + choices("close-choice", drawn, "Symbol and horizon")
    return Section("closes", "Predicted against actual close", "Close", body)


def level_r2(view: CloseView) -> tuple[float, float]:
    """R2 of the price *levels*, of the forecast and of repeating the last close; both are near 1 for any forecast."""
    spread = float(np.sum((view.actual_close - view.actual_close.mean()) ** 2))
    if spread == 0:
        return float("nan"), float("nan")
    ours, last = (float(np.sum((view.actual_close - p) ** 2)) for p in (view.predicted_close, view.origin_close))
    return 1 - ours / spread, 1 - last / spread


def return_r2(view: CloseView) -> float:
    """1 - sum of squared errors of the return over sum of squared returns: what remains of the above when the last close is known."""
    actual, predicted = _returns(view)
    whole = float(np.sum(actual**2))
    return 1 - float(np.sum((actual - predicted) ** 2)) / whole if whole else float("nan")


def _known(view: CloseView) -> CloseView:
    fine = np.isfinite(view.actual_close) & np.isfinite(view.predicted_close) & np.isfinite(view.origin_close)
    fine &= (np.minimum(view.actual_close, view.predicted_close) > 0) & (view.origin_close > 0)
    prices = [c[fine] for c in (view.origin_close, view.actual_close, view.predicted_close)]
    return CloseView(view.symbol, view.horizon, view.time_ms[fine], *prices)


def _returns(view: CloseView) -> tuple[Floats, Floats]:
    return np.log(view.actual_close / view.origin_close), np.log(view.predicted_close / view.origin_close)


def _pair(i: int, view: CloseView, most: int) -> str:
    ours, last = level_r2(view)
    levels = (
        f"R² of the levels: {digits.significant(ours, 5)} for the forecast, {digits.significant(last, 5)} for repeating the last close. "
        "The agreement is not skill."
    )
    share = digits.percent(return_r2(view), 2)
    returns = (
        f"Actual against predicted {view.horizon} return: the forecast explains {share} of the squared moves (the zero forecast "
        "explains 0 %). Interval and p-value stand in the verdict table."
    )
    return pair(
        figure(f"levels-{i}", _levels(view, most), f"Close, {view.horizon} ahead", levels),
        figure(f"returns-{i}", _scatter(view, most), f"Return, {view.horizon} ahead", returns),
    )


def _levels(view: CloseView, most: int) -> Spec:
    rows = thin(len(view.time_ms), min(1200, most))
    x = times(view.time_ms[rows])
    return {
        "data": [
            line(x, column(view.actual_close[rows], 6), "actual close", "@ink", 1.2),
            line(x, column(view.predicted_close[rows], 6), "predicted (median)", "@ours", 1.2),
        ],
        "layout": layout(340, xaxis={"type": "date"}, yaxis={"title": {"text": label("price")}}),
    }


def _scatter(view: CloseView, most: int) -> Spec:
    actual, predicted = _returns(view)
    rows = thin(len(actual), min(1500, most))
    x, y = 100 * predicted[rows], 100 * actual[rows]
    reach = float(max(np.max(np.abs(x)), 1e-9))
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "x": column(x, 4),
                "y": column(y, 4),
                "marker": {"color": "@ours", "size": 4, "opacity": 0.35},
                "name": "one origin",
                "hovertemplate": "predicted %{x:.2f} %<br>came %{y:.2f} %<extra></extra>",
                "showlegend": False,
            },
            line(column([-reach, reach]), column([-reach, reach]), "perfect forecast", "@muted", 1.2, dash="dot", hoverinfo="skip"),
        ],
        "layout": layout(
            340,
            xaxis={"title": {"text": "predicted return, %"}, "zeroline": True},
            yaxis={"title": {"text": "actual return, %"}, "zeroline": True},
        ),
    }
