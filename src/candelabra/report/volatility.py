"""Volatility forecast against what was realised."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, layout, line, thin, times
from candelabra.report.inputs import Floats, ReportInputs, VolatilityView
from candelabra.report.markup import Section, choices, figure

__all__ = ["section"]


def section(inputs: ReportInputs) -> Section | None:
    """Per symbol and horizon: the series on a log scale, and the scatter on equal log axes."""
    views = [v for v in inputs.volatility if len(v.time_ms)]
    if not views:
        return None
    drawn = [(f"{v.symbol} {v.horizon}", _panel(i, v)) for i, v in enumerate(views)]
    return Section("volatility", "Volatility forecast against realised", "Volatility", choices("vol-choice", drawn, "Symbol and horizon"))


def _panel(i: int, view: VolatilityView) -> str:
    rows = thin(len(view.time_ms), 1500)
    scores = [f"ours {digits.significant(view.r2_ours)}"] if view.r2_ours is not None else []
    if view.baseline is not None and view.r2_baseline is not None:
        scores.append(f"{view.baseline_name} {digits.significant(view.r2_baseline)}")
    score = f" R² of log volatility over the whole range: {', '.join(scores)}." if scores else ""
    shown = "" if len(rows) == len(view.time_ms) else f" {len(rows):,} of {len(view.time_ms):,} origins are drawn."
    series = (
        f"Realised volatility of the next {view.horizon} (not annualised, log scale) and what was forecast for it before: a good forecast "
        f"goes up before the peaks, not after them.{score}{shown}"
    )
    scatter = (
        "Each dot is one origin; on the dotted line forecast and outcome are equal. Compare how tightly the clouds hug it, and whether the "
        "high end is missed."
    )
    return figure(f"vol-{i}", _series(view, rows), f"{view.symbol}, next {view.horizon}", series) + figure(
        f"volscatter-{i}", _scatter(view, rows), "Forecast against outcome", scatter
    )


def _as_percent(log_volatility: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return 100 * np.exp(log_volatility)


def _series(view: VolatilityView, rows: np.ndarray) -> Spec:
    x = times(view.time_ms[rows])
    data = [line(x, column(_as_percent(view.realised[rows]), 4), "realised", "@ink", 1)]
    if view.baseline is not None:
        name = f"best baseline: {view.baseline_name}"
        data.append(line(x, column(_as_percent(view.baseline[rows]), 4), name, "@grey", 1.4))
    data.append(line(x, column(_as_percent(view.ours[rows]), 4), "ours", "@ours", 1.8))
    axis = {"title": {"text": f"volatility over {view.horizon}, %"}, "type": "log", "dtick": "D2"}
    return {"data": data, "layout": layout(380, xaxis={"type": "date"}, yaxis=axis, hovermode="x unified")}


def _scatter(view: VolatilityView, rows: np.ndarray) -> Spec:
    y = _as_percent(view.realised[rows])
    both = [(view.ours, "ours", "@ours", "x", "y")]
    if view.baseline is not None:
        both.insert(0, (view.baseline, view.baseline_name, "@grey", "x", "y"))
        both[1] = (view.ours, "ours", "@ours", "x2", "y2")
    values = np.concatenate([y, *(_as_percent(forecast[rows]) for forecast, *_ in both)])
    values = values[np.isfinite(values) & (values > 0)]
    ends = column([np.log10(values.min()) - 0.05, np.log10(values.max()) + 0.05]) if len(values) else [-1.0, 1.0]
    edge = column([10**e for e in ends if e is not None])
    axes: Spec = {}
    data: list[Spec] = []
    for n, (forecast, name, colour, xaxis, yaxis) in enumerate(both):
        data.append(
            line([], [], name, colour)
            | {
                "mode": "markers",
                "x": column(_as_percent(forecast[rows]), 4),
                "y": column(y, 4),
                "marker": {"color": colour, "size": 4, "opacity": 0.45},
                "hovertemplate": "forecast %{x:.3g} %<br>came %{y:.3g} %<extra></extra>",
                "xaxis": xaxis,
                "yaxis": yaxis,
            }
        )
        data.append(line(edge, edge, "equal", "@muted", 1.2, dash="dot", hoverinfo="skip", showlegend=n == 0, xaxis=xaxis, yaxis=yaxis))
        domain = [0, 1] if len(both) == 1 else ([0, 0.475], [0.525, 1])[n]
        axes["xaxis" + xaxis[1:]] = {"type": "log", "range": ends, "domain": domain, "title": {"text": "forecast, %"}, "dtick": "D2"}
        axes["yaxis" + yaxis[1:]] = {"type": "log", "range": ends, "anchor": xaxis, "dtick": "D2"}
    axes["yaxis"]["title"] = {"text": "realised, %"}
    if len(both) == 2:
        axes["yaxis2"] |= {"matches": "y", "showticklabels": False}
    return {"data": data, "layout": layout(400, **axes)}
