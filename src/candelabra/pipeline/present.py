"""Filling the report: from material, judgement and trainings to the arrays and texts its sections draw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.simulate import SimulatedMarket
from candelabra.config.tree import Config
from candelabra.evaluation.results import Evaluation, Figure, Measure
from candelabra.evaluation.skill import REFERENCE
from candelabra.evaluation.verdict import direction
from candelabra.evaluation.wording import NO_DIRECTION, ZERO_MEAN, best_baseline, in_words, is_shrunk, sentence
from candelabra.metrics.quantiles import covered, pit_histogram, pit_values
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.pipeline.judging import Judgement
from candelabra.pipeline.material import Material
from candelabra.pipeline.present_inputs import features, findings, quality, scores
from candelabra.pipeline.present_trading import trading
from candelabra.report import inputs as page
from candelabra.trading.choice import Choice
from candelabra.trading.study import Study
from candelabra.training.loop import TrainingRun

__all__ = ["Story", "results_columns", "sections", "summarise"]

_FAN_BARS, _FANS = 216, 6
_COVERAGES = (0.5, 0.8, 0.9, 0.98)


@dataclass(frozen=True, eq=False)
class Story:
    """What the sections are made from."""

    config: Config
    material: Material
    judgement: Judgement
    product: str
    runs: Mapping[str, Sequence[TrainingRun]]
    models: Mapping[str, FittedModel]
    markets: Mapping[str, SimulatedMarket]
    traded: tuple[Study, Choice] | None = None

    @property
    def evaluation(self) -> Evaluation:
        """Figures and comparisons of all models."""
        return self.judgement.evaluation

    def role(self, model: str) -> page.Role:
        """How a model is drawn."""
        if model == self.product:
            return "ours"
        if model == "oracle":
            return "oracle"
        return "member" if model in (*self.runs, "adaptive") else "baseline"

    @property
    def rivals(self) -> tuple[str, ...]:
        """Baselines that were judged."""
        return tuple(b for b in self.config.baselines if b in self.judgement.outputs and b != self.product)


def sections(story: Story) -> dict[str, object]:
    """Keyword arguments of `report.inputs.ReportInputs` for everything that comes from data."""
    return {
        "verdict": tuple(_verdict(story)),
        "candles": tuple(_candles(story)),
        "closes": tuple(_closes(story)),
        "volatility": tuple(_volatility(story)),
        "skill": tuple(_skill(story)),
        "trading": trading(*story.traded) if story.traded is not None else None,
        "calibration": tuple(_calibration(story)),
        "learning": tuple(_learning(story.runs)),
        "quality": tuple(quality(story.material)),
        "findings": tuple(findings(story.material)),
        "features": tuple(features(story.material, story.models)),
        "feature_scores": tuple(scores(story.material)),
        "metric_columns": results_columns(),
        "results": tuple(_results(story)),
    }


_MEASURES: tuple[tuple[Measure, str, str], ...] = (
    ("r2", "Volatility", "volatility"),
    ("qlike", "Volatility", "volatility"),
    ("crps", "Return distribution", "distribution of returns"),
    ("mse", "Mean return", "mean return"),
)

_TONES: dict[bool | None, Literal["better", "worse", "level"]] = {True: "better", False: "worse", None: "level"}


def _verdict(story: Story) -> Iterator[page.VerdictRow]:
    """Per horizon: volatility by R2 and QLIKE, the distribution by CRPS, the mean by MSE; each against the best baseline; direction.

    Horizons whose mean was shrunk to 0 share two rows at the end: there is nothing to tell them apart.
    """
    found = story.evaluation
    silent: list[str] = []
    for horizon in found.horizons:
        for measure, title, _ in _MEASURES:
            compared = best_baseline(found, story.product, horizon, measure)
            if compared is None:
                continue
            if is_shrunk(compared):
                silent.append(horizon)
                continue
            words, good = in_words(compared)
            yield page.VerdictRow(
                what=f"{title}, {horizon}",
                metric=measure.upper() if measure != "r2" else "R²",
                ours=found.of(story.product, horizon)[measure].value,
                baseline="zero forecast" if measure == "mse" else compared.baseline,
                baseline_value=found.of(compared.baseline, horizon)[measure].value,
                skill=compared.value,
                low=compared.low,
                high=compared.high,
                p_value=compared.adjusted_p_value,
                words=words,
                unit="" if measure == "r2" else "%",
                tone=_TONES[good],
            )
        if horizon not in silent and (row := _direction(found, story.product, horizon)) is not None:
            yield row
    if silent:
        none = (math.nan,) * 4
        listed = ", ".join(silent)
        yield page.VerdictRow(f"Mean return, {listed}", "MSE", math.nan, "zero forecast", *none, None, ZERO_MEAN, tone="level")
        yield page.VerdictRow(f"Direction, {listed}", "share right", math.nan, "", *none, None, NO_DIRECTION, tone="level")


def _direction(found: Evaluation, product: str, horizon: str) -> page.VerdictRow | None:
    told = direction(found, product, horizon)
    if told is None:
        return None
    figure = found.of(product, horizon).figures.get("direction", Figure(math.nan))
    up = found.up_share.get(horizon, math.nan)
    commoner = max(up, 1.0 - up)
    return page.VerdictRow(
        what=f"Direction, {horizon}",
        metric="share right",
        ours=figure.value,
        baseline="the commoner direction",
        baseline_value=commoner,
        skill=figure.value - commoner,
        low=max(figure.low, 0.0) - commoner if math.isfinite(figure.low) else math.nan,
        high=min(figure.high, 1.0) - commoner if math.isfinite(figure.high) else math.nan,
        p_value=None,
        words=told.words,
        tone=_TONES[told.good],
        figures="percent",
    )


def summarise(found: Evaluation, product: str, config: Config) -> str:
    """The verdict on the longest horizon in two or three plain sentences."""
    horizon = found.horizons[-1]
    sentences = []
    for measure, _, subject in _MEASURES:
        compared = best_baseline(found, product, horizon, measure)
        if compared is None or measure == "qlike":
            continue
        figure = f" (R² {found.of(product, horizon)['r2'].value:.2f})" if measure == "r2" else ""
        rival = "the zero forecast" if measure == "mse" else f"the best baseline, {compared.baseline}"
        words = NO_DIRECTION if is_shrunk(compared) else sentence(in_words(compared)[0], rival)
        sentences.append(f"Next {horizon}, {subject}{figure}: {words}.")
    return " ".join(sentences)


def _candles(story: Story) -> Iterator[page.CandleView]:
    for i, series in enumerate(story.material.series):
        rows = story.judgement.rows[i]
        if not len(rows):
            continue
        candles = series.base_candles
        last = int(rows[-1])
        shown = candles.rows(slice(max(0, last + 1 - _FAN_BARS), last + 1))
        output = story.judgement.outputs[story.product][i]
        steps = story.material.recipe.steps
        spots = [k for k in np.linspace(len(rows) - _FAN_BARS + 24, len(rows) - 1 - steps[-1], _FANS).astype(int) if 0 <= k < len(rows)]
        market = story.markets.get(series.symbol)
        regime = None
        if market is not None:
            row = np.searchsorted(market.candles.open_time, shown.open_time)
            regime = market.regime[np.minimum(row, len(market.regime) - 1)]
        yield page.CandleView(
            symbol=series.symbol,
            timeframe=series.base.name,
            open_time_ms=shown.open_time,
            open=shown.open,
            high=shown.high,
            low=shown.low,
            close=shown.close,
            fans=tuple(fan for k in spots if (fan := _fan(story, i, k, output)) is not None),
            regime=regime,
            regime_names=market.regime_names if market is not None else (),
        )


def _fan(story: Story, symbol: int, k: int, output: ModelOutput) -> page.Fan | None:
    row = int(story.judgement.rows[symbol][k])
    price = float(story.material.series[symbol].base_candles.close[row])
    prices = price * np.exp(output.quantiles[k].astype(float))
    if not np.isfinite(prices).all():
        return None
    return page.Fan(
        origin_ms=int(story.material.series[symbol].close_time[row]),
        price=price,
        time_ms=story.material.targets[symbol].known_at[row],
        levels=np.asarray(output.levels),
        prices=prices,
    )


def _closes(story: Story) -> Iterator[page.CloseView]:
    for i, series in enumerate(story.material.series):
        rows = story.judgement.rows[i]
        targets, output = story.material.targets[i], story.judgement.outputs[story.product][i]
        for h, horizon in enumerate(targets.horizons):
            origin = series.base_candles.close[rows]
            levels = np.asarray(output.levels)
            low, high = (int(np.argmin(np.abs(levels - level))) for level in (0.05, 0.95))
            yield page.CloseView(
                symbol=series.symbol,
                horizon=horizon.name,
                time_ms=targets.known_at[rows, h],
                origin_close=origin,
                actual_close=origin * np.exp(targets.returns[rows, h]),
                predicted_close=origin * np.exp(output.mean[:, h].astype(float)),
                band=output.quantiles[:, h, [low, high]].astype(float),
                band_levels=(float(levels[low]), float(levels[high])),
            )


def _volatility(story: Story) -> Iterator[page.VolatilityView]:
    for i, series in enumerate(story.material.series):
        rows, targets = story.judgement.rows[i], story.material.targets[i]
        for h, horizon in enumerate(targets.horizons):
            compared = best_baseline(story.evaluation, story.product, horizon.name, "r2")
            best = compared.baseline if compared is not None else None
            yield page.VolatilityView(
                symbol=series.symbol,
                horizon=horizon.name,
                time_ms=series.close_time[rows],
                realised=targets.log_volatility[rows, h],
                ours=story.judgement.outputs[story.product][i].log_volatility[:, h].astype(float),
                baseline=story.judgement.outputs[best][i].log_volatility[:, h].astype(float) if best else None,
                baseline_name=best or "",
                r2_ours=_value(story.evaluation, story.product, horizon.name, "r2"),
                r2_baseline=_value(story.evaluation, best, horizon.name, "r2") if best else None,
            )


def _value(evaluation: Evaluation, model: str, horizon: str, name: str) -> float | None:
    figures = evaluation.of(model, horizon)
    return figures[name].value if name in figures else None


def _skill(story: Story) -> Iterator[page.SkillPanel]:
    """Volatility R2 as it is; QLIKE, CRPS and MSE as skill against a named reference."""
    found = story.evaluation
    models = list(dict.fromkeys(m.model for m in found.models if m.model != REFERENCE))
    # constant volatilities lie far to the left and would press all others together; the table of results has them
    moving = [m for m in models if getattr(story.models.get(m), "responds", True)]
    points = [_point(story, m, h, found.of(m, h)["r2"]) for h in found.horizons for m in moving if _has(found, m, h, "r2")]
    yield page.SkillPanel("Volatility R²", tuple(points), "the mean of the test range", unit="")
    against = {"qlike": "har" if "har" in story.rivals else REFERENCE, "crps": REFERENCE, "mse": REFERENCE}
    titles = {
        "qlike": ("Volatility QLIKE skill", against["qlike"]),
        "crps": ("Return CRPS skill", "the unconditional distribution"),
        "mse": ("Return MSE skill", "the zero forecast"),
    }
    for measure, (title, reference) in titles.items():
        points = []
        for horizon in found.horizons:
            for model in moving if measure == "qlike" else models:
                compared = found.compare(model, against[measure], horizon, measure)  # type: ignore[arg-type]
                if compared is not None and math.isfinite(compared.value):
                    points.append(page.SkillPoint(model, story.role(model), horizon, compared.value, compared.low, compared.high))
        yield page.SkillPanel(title, tuple(points), reference)


def _has(found: Evaluation, model: str, horizon: str, name: str) -> bool:
    return any(m.model == model and m.horizon == horizon and name in m for m in found.models)


def _point(story: Story, model: str, horizon: str, figure: Figure) -> page.SkillPoint:
    low, high = (None if math.isnan(v) else v for v in (figure.low, figure.high))
    return page.SkillPoint(model, story.role(model), horizon, figure.value, low, high)


def _calibration(story: Story) -> Iterator[page.Calibration]:
    material, judgement = story.material, story.judgement
    for h, horizon in enumerate(material.recipe.horizons):
        actual = np.concatenate([t.returns[r, h] for t, r in zip(material.targets, judgement.rows, strict=True)])
        after = np.concatenate([o.quantiles[:, h] for o in judgement.outputs[story.product]]).astype(float)
        before = np.concatenate([o.quantiles[:, h] for o in judgement.raw[story.product]]).astype(float)
        levels = judgement.outputs[story.product][0].levels
        known = np.isfinite(actual) & np.isfinite(after).all(axis=1)
        if not known.any():
            continue
        times = np.concatenate([s.close_time[r] for s, r in zip(material.series, judgement.rows, strict=True)])
        independent = max(1.0, known.sum() / material.recipe.steps[h] / len(material.series))
        hits = {c: covered(after[known], actual[known], levels, c) for c in _COVERAGES}
        time, rolling = _rolling(times[known], hits[0.9])
        yield page.Calibration(
            horizon=horizon.name,
            nominal=np.array(_COVERAGES),
            observed=np.array([hits[c].mean() for c in _COVERAGES]),
            standard_error=np.array([math.sqrt(c * (1 - c) / independent) for c in _COVERAGES]),
            observed_before=np.array([covered(before[known], actual[known], levels, c).mean() for c in _COVERAGES]),
            pit=pit_histogram(pit_values(after[known], actual[known], levels)),
            pit_before=pit_histogram(pit_values(before[known], actual[known], levels)),
            rolling_time_ms=time,
            rolling_coverage=rolling,
            rolling_nominal=0.9,
            rolling_window="30 days",
        )


def _rolling(time_ms: NDArray[np.int64], hits: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Share of hits in the 30 days before each of about 200 moments."""
    order = np.argsort(time_ms, kind="stable")
    time, total = time_ms[order], np.concatenate([[0.0], np.cumsum(hits[order])])
    ends = np.unique(np.linspace(0, len(time) - 1, 200).astype(int))
    starts = np.searchsorted(time, time[ends] - 30 * 86_400_000)
    full = time[ends] - time[0] >= 15 * 86_400_000
    return time[ends][full], ((total[ends + 1] - total[starts]) / (ends + 1 - starts))[full]


def _learning(runs: Mapping[str, Sequence[TrainingRun]]) -> Iterator[page.LearningCurve]:
    for name, own in runs.items():
        for seed, run in enumerate(own):
            steps = np.array([row["step"] for row in run.history], np.int64)
            yield page.LearningCurve(
                name=name,
                seed=seed,
                train_step=steps,
                train_loss=np.array([row["train_loss"] for row in run.history], float),
                validation_step=steps,
                validation_loss=np.array([row["validation_loss"] for row in run.history], float),
                best_step=run.best_step,
                stop_reason=run.reason,
            )


def results_columns() -> tuple[page.MetricColumn, ...]:
    """Columns of the full results table."""
    column = page.MetricColumn
    return (
        column(
            "r2",
            "Vol. R²",
            "high",
            places=3,
            explanation="share of the variance of log realised volatility explained, around the test mean",
        ),
        column("qlike", "QLIKE", "low", places=3, explanation="loss on variances, scale fitted on the calibration range"),
        column("crps", "CRPS", "low", "percent", "loss of the whole return distribution, in log return", 4),
        column("coverage_90", "90 % holds", None, "percent", "how often the 90 % interval held", 1),
        column("width_90", "90 % width", "low", "percent", "mean width of the 90 % interval, log return", 2),
        column("mae", "MAE", "low", "percent", "of the log return", 4),
        column("rmse", "RMSE", "low", "percent", "of the log return", 4),
        column("mse", "MSE", "low", explanation="of the log return"),
        column("mape", "MAPE", "low", "percent", "of the price", 4),
        column("mase", "MASE", "low", places=4, explanation="MAE over the mean absolute return of the train range"),
        column("direction", "Direction", "high", "percent", "share of right signs of the mean; none where the mean is 0", 1),
        column("ic", "IC", "high", places=3, explanation="correlation of the mean with the outcome"),
        column("rank_ic", "Rank IC", "high", places=3, explanation="rank correlation of the mean with the outcome"),
        column("pinball", "Pinball", "low", "percent", "mean over the quantiles, in log return", 4),
    )


def _results(story: Story) -> Iterator[page.ResultRow]:
    for own in story.evaluation.models:
        values = {name: figure.value for name, figure in own.figures.items() if math.isfinite(figure.value)}
        role: page.Role = "baseline" if own.model == REFERENCE else story.role(own.model)
        name = "unconditional" if own.model == REFERENCE else own.model
        yield page.ResultRow(name, role, "all", own.horizon, values)
