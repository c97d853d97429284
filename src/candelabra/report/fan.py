"""Candles of the end of the test range with the forecast fan, in prices."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, label, layout, times
from candelabra.report.inputs import CandleView, Fan, ReportInputs
from candelabra.report.markup import Section, choices, figure

__all__ = ["bands", "section"]

MOST_BARS = 400
MOST_FANS = 12
WANTED = (0.9, 0.8, 0.5)  # widest first: the narrow one is drawn on top


def section(inputs: ReportInputs) -> Section | None:
    """One figure per symbol, with a slider over the origins."""
    views = [v for v in inputs.candles if len(v.open_time_ms)]
    if not views:
        return None
    drawn = []
    for i, view in enumerate(views):
        view = _cut(view)
        shaded = " Shaded: the true regimes of the simulated market, unknown to the model." if _runs(view) else ""
        says = (
            "At the dotted line the model knew only the candles to its left; a good fan is about as wide as the moves that follow, and the "
            f"close leaves the 90 % band about one time in ten.{shaded} Move the slider for other origins."
        )
        drawn.append((f"{view.symbol} {view.timeframe}", figure(f"fan-{i}", _figure(view), f"{view.symbol} {view.timeframe}", says)))
    return Section("fan", "Candles and the forecast fan", "Fan", choices("fan-choice", drawn, "Symbol"))


def bands(fan: Fan) -> list[tuple[float, int, int]]:
    """Central intervals among the fan's levels as (coverage, lower column, upper column), widest first; about 90, 80 and 50 %."""
    levels = fan.levels.tolist()
    pairs = []
    for low, level in enumerate(levels):
        high = int(np.argmin(np.abs(fan.levels - (1 - level))))
        if level < 0.5 and abs(levels[high] - (1 - level)) < 1e-6:
            pairs.append((round(1 - 2 * level, 6), low, high))
    chosen = {min(pairs, key=lambda p: abs(p[0] - wanted)) for wanted in WANTED} if pairs else set()
    return sorted(chosen, reverse=True)


def _cut(view: CandleView) -> CandleView:
    keep = slice(max(0, len(view.open_time_ms) - MOST_BARS), None)
    since = int(view.open_time_ms[keep][0])
    fans = tuple(f for f in view.fans if f.origin_ms > since and len(f.time_ms))[-MOST_FANS:]
    regime = None if view.regime is None else view.regime[keep]
    ohlc = (view.open[keep], view.high[keep], view.low[keep], view.close[keep])
    return CandleView(view.symbol, view.timeframe, view.open_time_ms[keep], *ohlc, fans, regime, view.regime_names)


def _figure(view: CandleView) -> Spec:
    step = _step(view)
    traces: list[Spec] = [
        {
            "type": "candlestick",
            "name": label(view.symbol),
            "x": times(view.open_time_ms),
            "xperiod": step,
            "xperiodalignment": "middle",
            "open": column(view.open, 6),
            "high": column(view.high, 6),
            "low": column(view.low, 6),
            "close": column(view.close, 6),
            "increasing": {"line": {"color": "@candle", "width": 1}, "fillcolor": "@paper"},
            "decreasing": {"line": {"color": "@candle", "width": 1}, "fillcolor": "@candle"},
            "showlegend": False,
        }
    ]
    runs = _runs(view)
    for k in sorted({code for _, _, code in runs}):
        name = view.regime_names[k] if k < len(view.regime_names) else f"regime {k}"
        marker = {"color": f"@regime{k % 6}", "size": 12, "symbol": "square", "opacity": 0.8}
        traces.append({"type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": label(name), "marker": marker})
    plain = len(traces)
    owner = [-1] * plain
    low, high = float(np.nanmin(view.low)), float(np.nanmax(view.high))
    for i, fan in enumerate(view.fans):
        for trace in _fan_traces(fan, low, high, visible=i == len(view.fans) // 2):
            traces.append(trace)
            owner.append(i)
    finite = np.concatenate([f.prices[np.isfinite(f.prices)] for f in view.fans] or [np.zeros(0)])
    ends = [low, high, *([float(finite.min()), float(finite.max())] if len(finite) else [])]
    pad = 0.03 * (max(ends) - min(ends))
    right = max([int(view.open_time_ms[-1]) + step, *(int(f.time_ms[-1]) for f in view.fans)])
    spec: Spec = {
        "data": traces,
        "layout": layout(
            470,
            margin={"l": 12, "r": 64},
            xaxis={"type": "date", "rangeslider": {"visible": False}, "range": [int(view.open_time_ms[0]), right + 4 * step]},
            yaxis={"title": {"text": "price"}, "range": column([min(ends) - pad, max(ends) + pad], 6), "side": "right"},
            shapes=[
                {
                    "type": "rect",
                    "xref": "x",
                    "yref": "paper",
                    "x0": start,
                    "x1": stop,
                    "y0": 0,
                    "y1": 1,
                    "layer": "below",
                    "line": {"width": 0},
                    "fillcolor": f"@regime{code % 6}",
                    "opacity": 0.15,
                }
                for start, stop, code in runs
            ],
        ),
    }
    if len(view.fans) > 1:
        spec["layout"]["sliders"] = [_slider(view.fans, owner)]
        spec["layout"]["height"] += 60
    return spec


def _fan_traces(fan: Fan, low: float, high: float, *, visible: bool) -> list[Spec]:
    x = [fan.origin_ms, *times(fan.time_ms)]
    prices = np.vstack([np.full(len(fan.levels), fan.price), fan.prices])
    traces: list[Spec] = []
    chosen = bands(fan)
    for coverage, lower, upper in chosen:
        tone = min((90, 80, 50), key=lambda t: abs(t - 100 * coverage))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": x + x[::-1],
                "y": column(np.concatenate([prices[:, lower], prices[::-1, upper]]), 6),
                "fill": "toself",
                "fillcolor": f"@ours{tone}",
                "line": {"width": 0, "color": "@ours"},
                "name": f"{100 * coverage:.0f} % of outcomes",
                "hoverinfo": "skip",
                "visible": visible,
            }
        )
    middle = int(np.argmin(np.abs(fan.levels - 0.5)))
    edges = chosen[0][1:] if chosen else (0, len(fan.levels) - 1)
    traces.append(
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": x,
            "y": column(prices[:, middle], 6),
            "customdata": [column(prices[i, list(edges)], 6) for i in range(len(x))],
            "hovertemplate": "median %{y:,.6~g}<br>outer band %{customdata[0]:,.6~g} to %{customdata[1]:,.6~g}<extra>%{x}</extra>",
            "line": {"color": "@ours", "width": 2},
            "marker": {"size": 5, "color": "@ours"},
            "name": "median forecast",
            "visible": visible,
        }
    )
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "x": [fan.origin_ms, fan.origin_ms],
            "y": column([low, high], 6),
            "line": {"color": "@muted", "width": 1, "dash": "dot"},
            "hoverinfo": "skip",
            "showlegend": False,
            "visible": visible,
        }
    )
    return traces


def _slider(fans: tuple[Fan, ...], owner: list[int]) -> Spec:
    steps = [
        {
            "label": digits.moment(fan.origin_ms),
            "method": "restyle",
            "args": [{"visible": [o < 0 or o == i for o in owner]}],
        }
        for i, fan in enumerate(fans)
    ]
    return {
        "active": len(fans) // 2,
        "steps": steps,
        "currentvalue": {"prefix": "forecast made at "},
        "pad": {"t": 34, "l": 44, "r": 24},
        "ticklen": 0,
    }


def _step(view: CandleView) -> int:
    return int(np.median(np.diff(view.open_time_ms))) if len(view.open_time_ms) > 1 else 3_600_000


def _runs(view: CandleView) -> list[tuple[int, int, int]]:
    """Stretches of one regime as (start ms, end ms, code)."""
    if view.regime is None or not len(view.regime):
        return []
    code = np.asarray(view.regime)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(code) != 0) + 1])
    stops = np.concatenate([starts[1:], [len(code)]])
    step = _step(view)
    found = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        if code[start] >= 0:
            found.append((int(view.open_time_ms[start]), int(view.open_time_ms[stop - 1]) + step, int(code[start])))
    return found
