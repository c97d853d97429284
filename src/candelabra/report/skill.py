"""Skill of every model at every horizon, as dots with 95 % whiskers."""

from __future__ import annotations

import math

from candelabra.report import digits
from candelabra.report.charts import ROLE_COLOUR, Spec, column, label, layout
from candelabra.report.inputs import ReportInputs, SkillPanel, SkillPoint
from candelabra.report.markup import Section, escape, figure, note

__all__ = ["section"]

FLAT = 1e-4
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")


def section(inputs: ReportInputs) -> Section | None:
    """One panel per measure, two abreast."""
    panels = [p for p in inputs.skill if p.points]
    if not panels:
        return None
    panels = sorted(panels, key=is_flat)  # sentences after the figures, or they leave a hole beside one
    drawn = [_panel(i, p) for i, p in enumerate(panels) if not is_flat(p)]
    told = [_panel(i, p) for i, p in enumerate(panels) if is_flat(p)]
    return Section("skill", "Skill by model and horizon", "Skill", f'<div class="grid">{"".join(drawn)}</div>{"".join(told)}')


def is_flat(panel: SkillPanel) -> bool:
    """Whether no model differs from the reference by 0.01 %, intervals included: there is nothing to see."""
    ends = [v for p in panel.points for v in (p.value, p.low, p.high) if v is not None and math.isfinite(v)]
    return panel.unit == "%" and max((abs(v) for v in ends), default=0.0) < FLAT


def _panel(i: int, panel: SkillPanel) -> str:
    if not is_flat(panel):
        return figure(f"skill-{i}", _figure(panel), panel.title, _says(panel))
    than = f"from {panel.reference}" if panel.reference else "from 0"
    says = f"No model differs {than} by as much as {digits.percent(FLAT, 2)} at any horizon: there is nothing to draw."
    return f"<div><h3>{escape(panel.title)}</h3>{note(says)}</div>"


def _says(panel: SkillPanel) -> str:
    way = "right" if panel.better == "high" else "left"
    zero = f" 0 is {panel.reference}: a whisker clear of it is a difference from that." if panel.reference else ""
    oracle = (
        " The dashed line is the oracle, which knows the simulated market's truth." if any(p.role == "oracle" for p in panel.points) else ""
    )
    return f"Further {way} is better.{zero} Whiskers of two models may overlap and yet differ in a paired test: see the verdict.{oracle}"


def _figure(panel: SkillPanel) -> Spec:
    times_hundred = 100 if panel.unit == "%" else 1
    points = [p for p in panel.points if p.role != "oracle"]
    horizons = list(dict.fromkeys(p.horizon for p in panel.points))
    models = _ordered(points, panel.better)
    place = {name: i for i, name in enumerate(reversed(models))}
    step = 0.62 / max(1, len(horizons))
    data: list[Spec] = []
    for h, horizon in enumerate(horizons):
        shift = step * ((len(horizons) - 1) / 2 - h)
        mine = [p for p in points if p.horizon == horizon]
        data.extend(_dots(p, place[p.model] + shift, times_hundred, SYMBOLS[h % len(SYMBOLS)]) for p in mine)
        if len(horizons) > 1:
            key = {"color": "@muted", "symbol": SYMBOLS[h % len(SYMBOLS)], "size": 8}
            data.append({"type": "scatter", "mode": "markers", "x": [None], "y": [None], "name": label(horizon), "marker": key})
    shapes, notes = _oracle_lines(panel, horizons, times_hundred)
    height = max(230, 120 + (24 + 9 * len(horizons)) * max(1, len(models))) + (40 if notes else 0)
    # the oracles' names stand in up to three rows over the plot, and the legend over them
    above: Spec = {"margin": {"t": 74}, "legend": {"y": round(1 + 42 / (height - 118), 4)}} if notes else {}
    return {
        "data": data,
        "layout": layout(
            height,
            **above,
            showlegend=len(horizons) > 1,
            xaxis={
                "title": {"text": "%" if panel.unit == "%" else ""},
                "zeroline": True,
                "zerolinewidth": 2,
                "range": _reach(panel, times_hundred),
            },
            yaxis={
                "tickvals": list(place.values()),
                "ticktext": [f"<b>{label(m)}</b>" if _is_ours(points, m) else label(m) for m in place],
                "range": [-0.6, len(models) - 0.4],
                "showgrid": False,
                "automargin": True,
            },
            shapes=shapes,
            annotations=notes,
        ),
    }


def _reach(panel: SkillPanel, times_hundred: int) -> list[float | None]:
    """From the lowest to the highest end of any whisker drawn (an oracle's is not), 0 among them."""
    ends = [
        v for p in panel.points for v in (p.value, *((p.low, p.high) if p.role != "oracle" else ())) if v is not None and math.isfinite(v)
    ]
    low, high = min(0.0, *ends), max(0.0, *ends)
    pad = 0.04 * (high - low) or 0.01
    return column([times_hundred * (low - pad), times_hundred * (high + pad)], 5)


def _dots(point: SkillPoint, y: float, times_hundred: int, symbol: str) -> Spec:
    colour = ROLE_COLOUR[point.role]
    trace: Spec = {
        "type": "scatter",
        "mode": "markers",
        "x": column([times_hundred * point.value], 5),
        "y": [round(y, 4)],
        "name": f"{label(point.model)}, {label(point.horizon)}",
        "marker": {"color": colour, "symbol": symbol, "size": 10 if point.role == "ours" else 8},
        "showlegend": False,
        "hovertemplate": "%{x:.4~g}<extra>%{fullData.name}</extra>",
    }
    if point.low is not None and point.high is not None:
        up, down = (column([times_hundred * abs(end - point.value)], 5) for end in (point.high, point.low))
        trace["error_x"] = {"type": "data", "array": up, "arrayminus": down, "color": colour, "thickness": 1.8, "width": 0}
    return trace


def _oracle_lines(panel: SkillPanel, horizons: list[str], times_hundred: int) -> tuple[list[Spec], list[Spec]]:
    shapes: list[Spec] = []
    notes: list[Spec] = []
    oracles = [p for p in panel.points if p.role == "oracle"]
    for p in oracles:
        at = column([times_hundred * p.value], 5)[0]
        if at is None:
            continue
        shapes.append(
            {
                "type": "line",
                "x0": at,
                "x1": at,
                "y0": 0,
                "y1": 1,
                "yref": "paper",
                "line": {"color": "@oracle", "width": 1.8, "dash": "dash"},
            }
        )
        text = f"{label(p.model)} {label(p.horizon)}" if len(horizons) > 1 else label(p.model)
        notes.append(
            {"x": at, "y": 1, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False, "font": {"color": "@oracle"}}
        )
    for n, shown in enumerate(sorted(notes, key=lambda a: a["x"])):
        shown["yshift"] = 13 * (n % 3)
    return shapes, notes


def _ordered(points: list[SkillPoint], better: str) -> list[str]:
    """Best mean first."""
    models = list(dict.fromkeys(p.model for p in points))
    mean = {m: sum(p.value for p in points if p.model == m) / sum(p.model == m for p in points) for m in models}
    return sorted(models, key=lambda m: mean[m], reverse=better == "high")


def _is_ours(points: list[SkillPoint], model: str) -> bool:
    return any(p.role == "ours" for p in points if p.model == model)
