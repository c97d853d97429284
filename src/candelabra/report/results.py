"""The full results: every model, symbol and horizon with every measure, sortable."""

from __future__ import annotations

import math

from candelabra.report import digits
from candelabra.report.inputs import MetricColumn, ReportInputs, ResultRow
from candelabra.report.markup import Cell, Section, caption, number, table, words

__all__ = ["best_rows", "section"]

EXPLAINED = {
    "unconditional": "unconditional: mean 0, the quantiles of the train range and its mean volatility, whatever the market does.",
    "adaptive": "adaptive: the product with intervals that go on learning from their own misses through the test range, each only once it "
    "is known, instead of the constant ones fitted on the calibration range.",
    "oracle": "oracle: knows the parameters and the hidden state of the simulated market; it competes for nothing.",
}


def section(inputs: ReportInputs) -> Section | None:
    """One row per model, symbol and horizon; the best figure of each symbol and horizon in bold."""
    if not inputs.results:
        return None
    columns = inputs.metric_columns or _columns_of(inputs.results)
    best = {c.key: best_rows(inputs.results, c) for c in columns}
    rows = []
    for i, row in enumerate(inputs.results):
        cells = [words(row.model, "strong" if row.role == "ours" else ""), words(row.symbol, "nowrap"), words(row.horizon)]
        cells += [_cell(row, c, i in best[c.key]) for c in columns]
        rows.append(cells)
    head = ("Model", "Symbol", "Horizon", *(c.title for c in columns))
    tips = ("", "", "", *(_tip(c) for c in columns))
    drawn = table(head, rows, css="results tall", sortable=True, row_css=[r.role for r in inputs.results], explanations=tips)
    says = "Press a heading to sort; bold is the best of its symbol and horizon, which is not to say clearly the best."
    says += "".join(f" {told}" for name, told in EXPLAINED.items() if any(r.model == name for r in inputs.results))
    return Section("results", "All results", "Results", drawn + caption(says))


def best_rows(rows: tuple[ResultRow, ...], column: MetricColumn) -> set[int]:
    """Row numbers with the best value of their (symbol, horizon); oracles do not compete, nor do columns without a good way."""
    if column.better is None:
        return set()
    sign = 1 if column.better == "high" else -1
    champion: dict[tuple[str, str], tuple[float, int]] = {}
    for i, row in enumerate(rows):
        value = row.values.get(column.key, math.nan)
        if row.role == "oracle" or not math.isfinite(value):
            continue
        key = (row.symbol, row.horizon)
        if key not in champion or sign * value > champion[key][0]:
            champion[key] = (sign * value, i)
    return {i for _, i in champion.values()}


def _columns_of(rows: tuple[ResultRow, ...]) -> tuple[MetricColumn, ...]:
    return tuple(MetricColumn(key, key) for key in dict.fromkeys(k for row in rows for k in row.values))


def _cell(row: ResultRow, column: MetricColumn, best: bool) -> Cell:
    value = row.values.get(column.key, math.nan)
    if column.style == "percent":
        text = digits.percent(value, 1 if column.places is None else column.places)
    else:
        text = digits.significant(value, 4) if column.places is None else digits.fixed(value, column.places)
    return number(text, value, "best" if best else "")


def _tip(column: MetricColumn) -> str:
    way = {"high": "higher is better", "low": "lower is better", None: ""}[column.better]
    return "; ".join(t for t in (column.explanation, way) if t)
