"""Whether the intervals held: coverage, the PIT histogram, and coverage over time."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, columns_of_axes, layout, line, panel_title, thin, times
from candelabra.report.inputs import Calibration, Floats, ReportInputs, Times
from candelabra.report.markup import Section, figure

__all__ = ["section"]

TONES = ("@ours", "@ink", "@oracle", "@grey")
DASHES = ("solid", "dash", "dot", "dashdot")


def section(inputs: ReportInputs) -> Section | None:
    """Three figures, horizons side by side."""
    parts = inputs.calibration[:4]
    if not parts:
        return None
    before = any(p.observed_before is not None for p in parts)
    told = "; ".join(t for t in (_told(p) for p in parts) if t)
    says = (
        "Observed minus nominal coverage of the central intervals: dots inside the grey band (± 2 standard errors of independent origins) "
        f"are as good as exact; below 0 the intervals are too narrow.{' Hollow: before conformal calibration.' if before else ''}"
        f"{f' {told[0].upper()}{told[1:]}.' if told else ''}"
    )
    drawn = figure("coverage", _coverage(parts), "Coverage error by level", says)
    with_pit = [(p, p.pit) for p in parts if p.pit is not None and len(p.pit)]
    if with_pit:
        says = (
            "Where outcomes fell in the forecast distribution: flat is calibrated, a hump is too wide, a bowl too narrow, a slope biased."
        )
        drawn += figure("pit", _pit(with_pit), "Probability integral transform", says)
    rolling = [
        (p, p.rolling_time_ms, p.rolling_coverage)
        for p in parts
        if p.rolling_time_ms is not None and p.rolling_coverage is not None and len(p.rolling_time_ms)
    ]
    if rolling:
        window = f" in a window of {rolling[0][0].rolling_window}" if rolling[0][0].rolling_window else ""
        nominal = digits.percent(rolling[0][0].rolling_nominal, 0)
        says = f"Coverage of the {nominal} interval{window}: long stays below the dotted line are times when the intervals failed together."
        drawn += figure("rolling", _rolling(rolling), "Coverage over time", says)
    return Section("calibration", "Calibration of the intervals", "Calibration", drawn)


def _told(part: Calibration) -> str:
    if not len(part.nominal):
        return ""
    at = int(np.argmin(np.abs(part.nominal - 0.9)))
    ours = f"the {digits.percent(float(part.nominal[at]), 0)} interval covers {digits.percent(float(part.observed[at]))}"
    return f"at {part.horizon} {ours} (standard error {digits.percent(float(part.standard_error[at]))})"


def _coverage(parts: tuple[Calibration, ...]) -> Spec:
    data: list[Spec] = []
    axes: Spec = {"annotations": []}
    domains = columns_of_axes(len(parts), 0.04)
    for i, part in enumerate(parts):
        n = "" if i == 0 else str(i + 1)
        order = np.argsort(part.nominal)
        nominal, error = 100 * part.nominal[order], 200 * part.standard_error[order]
        on: Spec = {"xaxis": f"x{n}", "yaxis": f"y{n}"}
        ring = column(np.concatenate([nominal, nominal[::-1]]))
        edge = column(np.concatenate([error, -error[::-1]]), 4)
        band = line(ring, edge, "± 2 standard errors", "@band", 0, fill="toself", fillcolor="@band", hoverinfo="skip", showlegend=i == 0)
        data.append(band | on)
        hover = {"hovertemplate": "nominal %{x:.4~g} %<br>error %{y:+.2f} points<extra></extra>"}
        if part.observed_before is not None:
            y = column(100 * part.observed_before[order] - nominal, 4)
            hollow = {"mode": "lines+markers", "marker": {"symbol": "circle-open", "size": 7, "color": "@grey"}, "showlegend": i == 0}
            data.append(line(column(nominal), y, "before calibration", "@grey", 1) | hollow | on | hover)
        y = column(100 * part.observed[order] - nominal, 4)
        full = {"mode": "lines+markers", "marker": {"size": 7, "color": "@ours"}, "showlegend": i == 0}
        data.append(line(column(nominal), y, "ours", "@ours", 2) | full | on | hover)
        axes[f"xaxis{n}"] = {"domain": domains[i], "title": {"text": "nominal coverage, %"}, "range": [0, 102], "anchor": f"y{n}"}
        axes[f"yaxis{n}"] = {"anchor": f"x{n}", "zeroline": True, "zerolinewidth": 2} | (
            {"matches": "y", "showticklabels": False} if i else {}
        )
        axes["annotations"].append(panel_title(part.horizon, domains[i]))
    axes["yaxis"]["title"] = {"text": "observed − nominal, points"}
    return {"data": data, "layout": layout(360, legend={"y": 1.11}, margin={"t": 64}, **axes)}


def _pit(parts: list[tuple[Calibration, Floats]]) -> Spec:
    data: list[Spec] = []
    axes: Spec = {"annotations": [], "shapes": [], "bargap": 0.04}
    domains = columns_of_axes(len(parts), 0.04)
    for i, (part, pit) in enumerate(parts):
        n = "" if i == 0 else str(i + 1)
        for values, name, colour in ((pit, "ours", "@ours"), (part.pit_before, "before calibration", "@grey")):
            if values is None or not len(values):
                continue
            density = np.asarray(values, np.float64) * len(values) / max(float(np.sum(values)), 1e-12)
            middle = (np.arange(len(values)) + 0.5) / len(values)
            trace: Spec = {
                "x": column(middle),
                "y": column(density, 4),
                "name": name,
                "xaxis": f"x{n}",
                "yaxis": f"y{n}",
                "showlegend": i == 0,
            }
            if name == "ours":
                data.append(trace | {"type": "bar", "marker": {"color": colour, "opacity": 0.75}})
            else:
                data.append(trace | {"type": "scatter", "mode": "lines", "line": {"color": colour, "width": 1.5, "shape": "hvh"}})
        axes["shapes"].append(_level(1.0, f"x{n} domain", f"y{n}"))
        axes[f"xaxis{n}"] = {"domain": domains[i], "title": {"text": "PIT"}, "range": [0, 1], "anchor": f"y{n}"}
        axes[f"yaxis{n}"] = {"anchor": f"x{n}", "rangemode": "tozero"} | ({"matches": "y", "showticklabels": False} if i else {})
        axes["annotations"].append(panel_title(part.horizon, domains[i]))
    axes["yaxis"]["title"] = {"text": "density"}
    return {"data": data, "layout": layout(310, legend={"y": 1.15}, margin={"t": 64}, **axes)}


def _rolling(parts: list[tuple[Calibration, Times, Floats]]) -> Spec:
    data = []
    for i, (part, time_ms, coverage) in enumerate(parts):
        rows = thin(len(coverage), 900)
        x, y = times(time_ms[rows]), column(100 * coverage[rows], 4)
        data.append(line(x, y, part.horizon, TONES[i % 4], 1.6, dash=DASHES[i % 4]))
    nominal = 100 * parts[0][0].rolling_nominal
    return {
        "data": data,
        "layout": layout(
            290,
            xaxis={"type": "date"},
            yaxis={"title": {"text": "coverage, %"}},
            shapes=[_level(nominal, "paper", "y")],
            showlegend=True,
        ),
    }


def _level(at: float, xref: str, yref: str) -> Spec:
    line_ = {"color": "@muted", "width": 1.5, "dash": "dot"}
    return {"type": "line", "xref": xref, "yref": yref, "x0": 0, "x1": 1, "y0": round(at, 6), "y1": round(at, 6), "line": line_}
