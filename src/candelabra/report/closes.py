"""Predicted against actual close: the level plot everybody shows, and beside it the plot that can embarrass."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, label, layout, line, thin, times
from candelabra.report.inputs import CloseView, Floats, ReportInputs
from candelabra.report.markup import Section, choices, figure, longest, note, pair

__all__ = ["level_r2", "return_r2", "section"]

MOST_ROWS = 6000  # over all symbols and horizons, so that the page stays small
NO_POINT = "The mean was shrunk to zero on validation: there is no point forecast of the return to draw."
HONEST = (
    "A plot of price levels always looks good: repeating the last known close gives the same picture. What was forecast is the move from "
    "there, so judge the returns on the right, and the verdict table above."
)


def section(inputs: ReportInputs) -> Section | None:
    """Per symbol and horizon: levels over time beside returns against each other."""
    views = [_known(v) for v in inputs.closes]
    views = [v for v in views if len(v.time_ms)]
    if not views:
        return None
    most = max(250, MOST_ROWS // len(views))
    drawn = [(f"{v.symbol} {v.horizon}", _pair(i, v, most)) for i, v in enumerate(views)]
    body = note(HONEST, "aside") + choices("close-choice", drawn, "Symbol and horizon", longest(views))
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
    origin, actual, predicted = prices
    band = view.band[fine] if view.band is not None else None
    return CloseView(view.symbol, view.horizon, view.time_ms[fine], origin, actual, predicted, band, view.band_levels)


def _returns(view: CloseView) -> tuple[Floats, Floats]:
    return np.log(view.actual_close / view.origin_close), np.log(view.predicted_close / view.origin_close)


def is_zero(view: CloseView) -> bool:
    """Whether the forecast of the return is zero at every origin."""
    return bool(np.max(np.abs(_returns(view)[1]), initial=0.0) < 1e-9)


def _pair(i: int, view: CloseView, most: int) -> str:
    ours, last = level_r2(view)
    zero = is_zero(view)
    levels = (
        f"R² of the levels: {digits.significant(ours, 5)} for the forecast, {digits.significant(last, 5)} for repeating the last close. "
        + ("The forecast of the close is the last close." if zero else "The agreement is not skill.")
    )
    left = figure(f"levels-{i}", _levels(view, most), f"Close, {view.horizon} ahead", levels)
    if not zero:
        share = digits.percent(return_r2(view), 2)
        says = (
            f"Actual against predicted {view.horizon} return: the forecast explains {share} of the squared moves (the zero forecast "
            "explains 0 %). Interval and p-value stand in the verdict table."
        )
        return pair(left, figure(f"returns-{i}", _scatter(view, most), f"Return, {view.horizon} ahead", says))
    if view.band is None:
        return left + note(NO_POINT, "aside")
    low, high = view.band_levels
    within = (view.band[:, 0] <= _returns(view)[0]) & (_returns(view)[0] <= view.band[:, 1])
    known = np.isfinite(view.band).all(axis=1)
    held = digits.percent(float(within[known].mean())) if known.any() else digits.DASH
    says = (
        f"{NO_POINT} What is forecast is the spread: each dot is an actual return, drawn where its forecast interval was that wide. "
        f"{held} of the dots lie inside the {digits.percent(high - low, 0)} interval; "
        "one that knew nothing of volatility would have one width for all."
    )
    return pair(left, figure(f"returns-{i}", _spread(view, most), f"Return against its interval, {view.horizon} ahead", says))


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


def _spread(view: CloseView, most: int) -> Spec:
    """Actual returns over the width of their intervals, with the mean ends of the interval at that width."""
    band = np.zeros((0, 2)) if view.band is None else view.band
    rows = np.flatnonzero(np.isfinite(band).all(axis=1))
    rows = rows[thin(len(rows), min(1500, most))]
    width, actual = 100 * (band[rows, 1] - band[rows, 0]), 100 * _returns(view)[0][rows]
    order = np.argsort(width, kind="stable")
    bins = [b for b in np.array_split(order, 24) if len(b)]
    x = column([float(width[b].mean()) for b in bins], 4)
    low, high = (column([float(100 * band[rows[b], end].mean()) for b in bins], 4) for end in (0, 1))
    share = digits.percent(view.band_levels[1] - view.band_levels[0], 0)
    dots: Spec = {"type": "scatter", "mode": "markers", "x": column(width, 4), "y": column(actual, 4), "name": "one origin"}
    dots["marker"] = {"color": "@grey", "size": 4, "opacity": 0.45}
    dots["hovertemplate"] = "interval %{x:.2f} % wide<br>came %{y:.2f} %<extra></extra>"
    wide = column([float(np.quantile(width, 0.002)) * 0.95, float(np.quantile(width, 0.998)) * 1.05]) if len(width) else []
    return {
        "data": [
            dots | {"showlegend": False},
            line(x, low, f"{share} interval", "@ours", 2, hoverinfo="skip"),
            line(x, high, "upper end", "@ours", 2, hoverinfo="skip", showlegend=False),
        ],
        "layout": layout(
            340,
            xaxis={"title": {"text": label(f"forecast width of the {share} interval, %")}} | ({"range": wide} if wide else {}),
            yaxis={"title": {"text": "actual return, %"}, "zeroline": True},
            showlegend=True,
        ),
    }
