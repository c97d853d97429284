"""Learning curves: train and validation loss of every training, the best step marked."""

from __future__ import annotations

import numpy as np

from candelabra.report import digits
from candelabra.report.charts import Spec, column, layout, line, thin
from candelabra.report.inputs import Floats, LearningCurve, ReportInputs
from candelabra.report.markup import Section, choices, figure, number, table, words

__all__ = ["section"]


def section(inputs: ReportInputs) -> Section | None:
    """One figure per model (all its seeds) and a table of where each stopped and why."""
    if not inputs.learning:
        return None
    names = list(dict.fromkeys(c.name for c in inputs.learning))
    says = (
        "Blue, left axis: validation loss; grey, right axis: training loss. They are not on one scale: training adds auxiliary tasks and "
        "dropout, validation judges the averaged weights by the forecast alone; compare their directions, not their heights. The ring "
        "marks the step whose weights were kept: validation turning up while training falls on is overfitting. Where a rehearsal on an "
        "earlier stretch was made, the ring is the lowest mean of both, so it need not be the lowest point drawn here."
    )
    drawn = [(n, figure(f"learning-{i}", _figure([c for c in inputs.learning if c.name == n]), n, says)) for i, n in enumerate(names)]
    rows = [
        [
            words(c.name),
            number(str(c.seed), c.seed),
            number(digits.count(c.best_step), c.best_step),
            number(digits.significant(_best(c), 4), _best(c)),
            number(digits.count(int(c.train_step[-1])) if len(c.train_step) else digits.DASH),
            words(c.stop_reason),
        ]
        for c in inputs.learning
    ]
    stops = table(("Model", "Seed", "Best step", "Validation loss there", "Last step", "Why it stopped"), rows)
    return Section("learning", "Learning curves", "Learning", choices("learning-choice", drawn, "Model") + stops)


def _best(curve: LearningCurve) -> float:
    if not len(curve.validation_step):
        return float("nan")
    return float(curve.validation_loss[int(np.argmin(np.abs(curve.validation_step - curve.best_step)))])


def _figure(curves: list[LearningCurve]) -> Spec:
    data: list[Spec] = []
    for i, c in enumerate(curves):
        rows = thin(len(c.train_step), 600)
        train = column(c.train_loss[rows])
        data.append(line(c.train_step[rows].tolist(), train, "training (right)", "@grey", 1, showlegend=i == 0, opacity=0.8, yaxis="y2"))
    for i, c in enumerate(curves):
        rows = thin(len(c.validation_step), 600)
        x, y = c.validation_step[rows].tolist(), column(c.validation_loss[rows])
        data.append(
            line(
                x,
                y,
                "validation (left)",
                "@ours",
                2,
                showlegend=i == 0,
                hovertemplate=f"seed {c.seed}, step %{{x}}: %{{y:.4g}}<extra></extra>",
            )
        )
        if len(c.validation_step):
            ring = {"symbol": "circle-open", "size": 13, "color": "@ours", "line": {"width": 2.5}}
            kept: Spec = {
                "type": "scatter",
                "mode": "markers",
                "x": [c.best_step],
                "y": column([_best(c)]),
                "name": "weights kept",
                "marker": ring,
            }
            data.append(kept | {"showlegend": i == 0, "hoverinfo": "skip"})
    left = _window([c.validation_loss for c in curves])
    right = _window([c.train_loss[len(c.train_loss) // 10 :] for c in curves])
    axes: Spec = {
        "xaxis": {"title": {"text": "step"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "validation loss"}} | left,
        "yaxis2": {"title": {"text": "training loss"}, "overlaying": "y", "side": "right", "showgrid": False, "tickmode": "auto"} | right,
    }
    return {"data": data, "layout": layout(330, **axes)}


def _window(losses: list[Floats]) -> Spec:
    """A range that a few enormous losses of a fresh network do not flatten."""
    values = np.concatenate(losses) if losses else np.zeros(0)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return {}
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    pad = max(0.06 * (high - low), 0.002 * abs(high)) or 0.1  # or a difference in the sixth digit would fill the figure
    return {"range": column([low - pad, high + pad], 8)}
