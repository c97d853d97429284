"""Quality of the candles that went in: completeness, findings, and a coverage calendar."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, label, layout
from candelabra.report.inputs import ReportInputs, SymbolQuality
from candelabra.report.markup import Cell, Section, caption, figure, note, number, table, words

__all__ = ["section"]

ORDER = {"error": 0, "warning": 1, "note": 2}


def section(inputs: ReportInputs) -> Section | None:
    """A row per series, a row per finding, a square per month."""
    if not inputs.quality and not inputs.findings:
        return None
    body = ""
    if inputs.quality:
        head = ("Series", "Bars", "Gaps", "Missing bars", "Longest gap", "Zero volume", "Complete")
        body += table(head, [_row(q) for q in inputs.quality])
        body += caption("A gap is recorded and never filled: nothing was invented where the exchange was silent.")
    if any(len(q.months) for q in inputs.quality):
        says = "Share of bars missing in each month; the darker, the more. Pale months are complete, blank ones lie outside the series."
        body += figure("calendar", _calendar(inputs.quality), "Coverage calendar", says)
    if inputs.findings:
        found = sorted(inputs.findings, key=lambda f: (ORDER[f.severity], -f.count))
        rows = [
            [
                words(f.severity, f"chip {f.severity}"),
                words(f"{f.symbol} {f.timeframe}"),
                words(f.what),
                number(digits.count(f.count), f.count),
                words(digits.DASH if f.first_ms is None else digits.moment(f.first_ms), "nowrap"),
                words(f.detail, "muted"),
            ]
            for f in found
        ]
        body += "<h3>Findings</h3>" + table(("Severity", "Series", "What", "Count", "First (UTC)", "Detail"), rows, css="findings")
    else:
        body += note("The check of the candles found nothing to report.", "aside")
    return Section("quality", "Data quality", "Data", body)


def _row(q: SymbolQuality) -> list[Cell]:
    complete = q.bars / (q.bars + q.missing_bars) if q.bars else float("nan")
    return [
        words(f"{q.symbol} {q.timeframe}", "strong"),
        number(digits.count(q.bars), q.bars),
        number(digits.count(q.gaps), q.gaps),
        number(digits.count(q.missing_bars), q.missing_bars),
        number(digits.count(q.longest_gap_bars, "bar"), q.longest_gap_bars),
        number(digits.count(q.zero_volume_bars), q.zero_volume_bars),
        number(digits.percent(complete, 2), complete),
    ]


def _calendar(quality: tuple[SymbolQuality, ...]) -> Spec:
    months = sorted({m for q in quality for m in q.months})
    place = {m: i for i, m in enumerate(months)}
    absent: list[list[float | None]] = []
    for q in quality:
        row: list[float | None] = [None] * len(months)
        for month, share in zip(q.months, np.asarray(q.coverage, np.float64).tolist(), strict=True):
            row[place[month]] = round(100 * (1 - share), 3)
        absent.append(row)
    most = max(1.0, round(max((v for row in absent for v in row if v is not None), default=0.0), 2))
    names = [f"{q.symbol} {q.timeframe}" for q in quality]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [f"{m}-01" for m in months],
                "y": [label(n) for n in names],
                "z": absent,
                "zmin": 0,
                "zmax": most,
                "colorscale": [[0, "@heat0"], [0.02, "@heat1"], [0.3, "@heat2"], [1, "@heat3"]],
                "xgap": 2,
                "ygap": 4,
                "colorbar": {
                    "title": {"text": "% missing", "side": "right"},
                    "thickness": 10,
                    "tickvals": [0, most],
                    "ticktext": ["0", digits.significant(most, 2)],
                },
                "hovertemplate": "%{y}, %{x|%Y-%m}: %{z:.3~g} % of bars missing<extra></extra>",
            }
        ],
        "layout": layout(
            max(170, 90 + 30 * len(names)),
            xaxis={"type": "date", "showgrid": False},
            yaxis={"automargin": True, "autorange": "reversed", "showgrid": False, "type": "category"},
        ),
    }
