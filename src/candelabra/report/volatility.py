"""Volatility forecast against what was realised."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from candelabra.report import digits
from candelabra.report.charts import Spec, column, columns_of_axes, label, layout, line, log_axis, panel_title, thin, times
from candelabra.report.inputs import Floats, ReportInputs, VolatilityView
from candelabra.report.markup import Section, choices, figure, longest

__all__ = ["section"]

MOST_ROWS = 3000  # over all symbols and horizons, so that the page stays small


def section(inputs: ReportInputs) -> Section | None:
    """Per symbol and horizon: the series on a log scale, and the scatter on equal log axes."""
    views = [v for v in inputs.volatility if len(v.time_ms)]
    if not views:
        return None
    most = max(300, MOST_ROWS // len(views))
    drawn = [(f"{v.symbol} {v.horizon}", _panel(i, v, most)) for i, v in enumerate(views)]
    body = choices("vol-choice", drawn, "Symbol and horizon", longest(views))
    return Section("volatility", "Volatility forecast against realised", "Volatility", body)


def _panel(i: int, view: VolatilityView, most: int) -> str:
    rows = thin(len(view.time_ms), min(1500, most))
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


def _series(view: VolatilityView, rows: NDArray[np.int64]) -> Spec:
    x = times(view.time_ms[rows])
    shown = [_as_percent(view.realised[rows]), _as_percent(view.ours[rows])]
    data = [line(x, column(shown[0], 4), "realised", "@ink", 1)]
    if view.baseline is not None:
        shown.append(_as_percent(view.baseline[rows]))
        data.append(line(x, column(shown[2], 4), f"best baseline: {view.baseline_name}", "@grey", 1.4))
    data.append(line(x, column(shown[1], 4), "ours", "@ours", 1.8))
    axis = {"title": {"text": label(f"volatility over {view.horizon}, %")}} | _log_axis(shown)
    return {"data": data, "layout": layout(380, xaxis={"type": "date"}, yaxis=axis, hovermode="x unified")}


def _log_axis(shown: list[Floats]) -> Spec:
    values = np.concatenate(shown)
    values = values[np.isfinite(values) & (values > 0)]
    return log_axis(float(values.min()) / 1.1, float(values.max()) * 1.1) if len(values) else {"type": "log"}


def _scatter(view: VolatilityView, rows: NDArray[np.int64]) -> Spec:
    y = _as_percent(view.realised[rows])
    both = [("ours", "@ours", _as_percent(view.ours[rows]))]
    if view.baseline is not None:
        both.insert(0, (view.baseline_name, "@grey", _as_percent(view.baseline[rows])))
    axis = _log_axis([y, *(forecast for *_, forecast in both)])
    edge = column([10**e for e in axis.get("range", [-1, 1])])
    domains = columns_of_axes(len(both), 0.05)
    axes: Spec = {"annotations": []}
    data: list[Spec] = []
    for i, (name, colour, forecast) in enumerate(both):
        n = "" if i == 0 else str(i + 1)
        on: Spec = {"xaxis": f"x{n}", "yaxis": f"y{n}", "showlegend": False}
        dots: Spec = {"type": "scatter", "mode": "markers", "x": column(forecast, 4), "y": column(y, 4), "name": label(name)}
        dots["marker"] = {"color": colour, "size": 4, "opacity": 0.45}
        data.append(dots | on | {"hovertemplate": "forecast %{x:.3g} %<br>came %{y:.3g} %<extra></extra>"})
        data.append(line(edge, edge, "equal", "@muted", 1.2, dash="dot", hoverinfo="skip") | on)
        axes[f"xaxis{n}"] = axis | {"domain": domains[i], "title": {"text": "forecast, %"}, "anchor": f"y{n}"}
        axes[f"yaxis{n}"] = axis | {"anchor": f"x{n}"} | ({"matches": "y", "showticklabels": False} if i else {})
        axes["annotations"].append(panel_title(name, domains[i]))
    axes["yaxis"]["title"] = {"text": "realised, %"}
    return {"data": data, "layout": layout(400, **axes)}
