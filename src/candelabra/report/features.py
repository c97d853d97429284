"""The inputs of the model: formula, warm-up and scale of each, and which of them speak of the target."""

from __future__ import annotations

from candelabra.report import digits
from candelabra.report.charts import Spec, column, label, layout
from candelabra.report.inputs import FeatureRow, FeatureScore, ReportInputs
from candelabra.report.markup import Cell, Section, choices, figure, number, table, words

__all__ = ["section", "strongest"]

SHOWN = 15


def section(inputs: ReportInputs) -> Section | None:
    """The strongest features per target, and the table of all."""
    if not inputs.features and not inputs.feature_scores:
        return None
    body = ""
    targets = list(dict.fromkeys(s.target for s in inputs.feature_scores))
    if targets:
        says = (
            "The channels that say most about the target one at a time, measured on the train range only; correlations among inputs mean "
            "that the bars do not add up."
        )
        drawn = []
        for i, target in enumerate(targets):
            best = strongest([s for s in inputs.feature_scores if s.target == target])
            drawn.append((target, figure(f"scores-{i}", _figure(best), f"Strongest features for {target}", says)))
        body += choices("score-choice", drawn, "Target")
    if inputs.features:
        head = ("Feature", "Timeframe", "Formula", "Warm-up", "Centre", "Scale")
        tips = ("", "", "", "own closed bars needed before the first value", "fitted on the train range", "fitted on the train range")
        body += f"<h3>{digits.count(len(inputs.features), 'channel')}</h3>"
        body += table(head, [_row(f) for f in inputs.features], css="tall", sortable=True, explanations=tips)
    return Section("features", "Features", "Features", body)


def strongest(scores: list[FeatureScore]) -> list[FeatureScore]:
    """The features with the largest absolute correlation, largest first."""
    return sorted(scores, key=lambda s: -abs(s.correlation) if s.correlation == s.correlation else 1.0)[:SHOWN]


def _row(f: FeatureRow) -> list[Cell]:
    return [
        Cell(f.name, "code"),
        words(f.timeframe),
        words(f.formula, "muted"),
        number(digits.count(f.warmup), f.warmup),
        number(digits.significant(f.centre), f.centre),
        number(digits.significant(f.scale), f.scale),
    ]


def _figure(scores: list[FeatureScore]) -> Spec:
    names = [f"{label(s.name)} · {label(s.timeframe)}" for s in scores]
    with_mi = any(s.mutual_information is not None for s in scores)
    data: list[Spec] = [
        {
            "type": "bar",
            "orientation": "h",
            "x": column([s.correlation for s in scores], 4),
            "y": names,
            "marker": {"color": "@ours"},
            "hovertemplate": "%{y}: %{x:+.3f}<extra></extra>",
        }
    ]
    axes: Spec = {
        "xaxis": {"title": {"text": "correlation with the target"}, "zeroline": True},
        "yaxis": {"automargin": True, "autorange": "reversed", "showgrid": False, "type": "category"},
    }
    if with_mi:
        missing = float("nan")
        values = [missing if s.mutual_information is None else s.mutual_information for s in scores]
        hover = "%{y}: %{x:.3f} nats<extra></extra>"
        bars: Spec = {"type": "bar", "orientation": "h", "x": column(values, 4), "y": names, "xaxis": "x2", "marker": {"color": "@grey"}}
        data.append(bars | {"hovertemplate": hover})
        axes["xaxis"]["domain"] = [0, 0.62]
        axes["xaxis2"] = {"domain": [0.68, 1], "title": {"text": "mutual information, nats"}, "anchor": "y"}
    return {"data": data, "layout": layout(90 + 23 * max(3, len(scores)), showlegend=False, bargap=0.35, **axes)}
