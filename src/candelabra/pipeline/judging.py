"""Calibrating every model before the test range and judging them all on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.config.tree import Config
from candelabra.errors import DataError
from candelabra.evaluation.calibration import fit_calibration, outcomes
from candelabra.evaluation.judged import Part
from candelabra.evaluation.results import Evaluation
from candelabra.evaluation.skill import evaluate
from candelabra.evaluation.verdict import VerdictRow, verdict
from candelabra.metrics.adaptive import adapt
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.models.base import FittedModel, ModelOutput, concatenate
from candelabra.pipeline.material import Material
from candelabra.progress import Reporter

__all__ = ["Judgement", "Oracle", "calibrate", "judge", "judge_outputs", "verdict_of"]

Rows = tuple[NDArray[np.int64], ...]
_ADAPTS_FROM: Final = 20  # known rows that adaptive intervals need to start from


@dataclass(frozen=True, eq=False)
class Oracle:
    """What somebody who knows a simulated market's state says: outputs and variance scales ``(rows, horizons)`` per symbol."""

    outputs: tuple[ModelOutput, ...]
    scales: tuple[NDArray[np.float64], ...]


@dataclass(frozen=True, eq=False)
class Judgement:
    """Calibrations by model, their outputs on the test rows (calibrated, and as they came), and the evaluation.

    ``validation``: the product's calibrated outputs on the validation rows, on which trading rules are chosen; empty where none were made.
    """

    calibrations: dict[str, Calibration]
    outputs: dict[str, tuple[ModelOutput, ...]]
    raw: dict[str, tuple[ModelOutput, ...]]
    rows: Rows
    evaluation: Evaluation
    validation: tuple[ModelOutput, ...] = ()


def calibrate(
    material: Material, models: Mapping[str, FittedModel], progress: Reporter
) -> tuple[dict[str, Calibration], dict[str, list[ModelOutput]], dict[str, list[ModelOutput]], dict[str, list[ModelOutput]]]:
    """Constants of every model from its validation and calibration rows, and its raw outputs on the rows of these two and of test."""
    validation, calibration, test = (material.split.part(p) for p in ("validation", "calibration", "test"))
    names = tuple(h.name for h in material.recipe.horizons)
    constants: dict[str, Calibration] = {}
    tested: dict[str, list[ModelOutput]] = {}
    before: dict[str, list[ModelOutput]] = {}
    early: dict[str, list[ModelOutput]] = {}
    with progress.stage("calibrate and forecast", total=len(models)):
        for name, model in models.items():
            parts: list[list[ModelOutput]] = [[], [], []]
            for i, series in enumerate(material.series):
                every = [validation[i], calibration[i], test[i]]
                output = model.predict(series, np.concatenate(every))
                bounds = np.cumsum([0, *(len(rows) for rows in every)])
                for k in range(3):
                    parts[k].append(output.rows(slice(int(bounds[k]), int(bounds[k + 1]))))
            constants[name] = fit_calibration(
                names,
                material.recipe.steps,
                outcomes(material.targets, validation, parts[0]),
                outcomes(material.targets, calibration, parts[1]),
            )
            early[name], before[name], tested[name] = parts
            progress.advance(1)
    return constants, early, before, tested


def judge(
    material: Material, models: Mapping[str, FittedModel], product: str, config: Config, trials: int, progress: Reporter,
    oracle: Oracle | None = None,
) -> Judgement:  # fmt: skip
    """Calibrate all models, then open the test range once for all of them together.

    Beside them stands ``adaptive``: the product's quantiles with intervals that follow the hits and misses known by each decision
    (`metrics.adaptive`), where the sealed product's intervals stay as calibrated.
    """
    constants, early, before, tested = calibrate(material, models, progress)
    with progress.stage("judge"):
        beside = {"adaptive": _adaptive(material, before[product], tested[product])}
        if oracle is not None:
            beside["oracle"] = oracle.outputs
        scales = oracle.scales if oracle is not None else ()
        judged = judge_outputs(material, constants, tested, material.split.test, config, trials, beside, scales)
    return replace(judged, validation=tuple(apply_calibration(o, constants[product]) for o in early[product]))


def _adaptive(material: Material, before: Sequence[ModelOutput], tested: Sequence[ModelOutput]) -> tuple[ModelOutput, ...]:
    answers = [t.returns[rows] for t, rows in zip(material.targets, material.split.calibration, strict=True)]
    pooled, pooled_answers = concatenate(before).quantiles, np.concatenate(answers)
    found = []
    for i, (early, late) in enumerate(zip(before, tested, strict=True)):
        targets, series, rows = material.targets[i], material.series[i], material.split.test[i]
        unsaid = np.full(late.mean.shape, np.nan, np.float32)
        # a symbol that was not traded yet, or no longer, in the calibration range starts from what the others taught
        own = _known(early.quantiles, answers[i]) >= _ADAPTS_FROM
        start, start_answers = (early.quantiles, answers[i]) if own else (pooled, pooled_answers)
        if not len(rows) or _known(start, start_answers) < _ADAPTS_FROM:
            found.append(ModelOutput(np.full_like(late.quantiles, np.nan), unsaid, unsaid, late.levels))
            continue
        quantiles = adapt(
            late.quantiles,
            targets.returns[rows],
            targets.known_at[rows],
            series.close_time[rows],
            late.levels,
            start,
            start_answers,
        )
        found.append(ModelOutput(quantiles.astype(np.float32), unsaid, unsaid, late.levels))
    return tuple(found)


def _known(quantiles: NDArray[np.float32], returns: NDArray[np.float64]) -> int:
    """Rows known at every horizon."""
    return int((np.isfinite(quantiles).all(axis=2) & np.isfinite(returns)).sum(axis=0).min()) if len(returns) else 0


def judge_outputs(
    material: Material,
    calibrations: dict[str, Calibration],
    raw: Mapping[str, list[ModelOutput] | tuple[ModelOutput, ...]],
    rows: Rows,
    config: Config,
    trials: int,
    beside: Mapping[str, tuple[ModelOutput, ...]] | None = None,
    oracle_scales: Sequence[NDArray[np.float64]] = (),
) -> Judgement:
    """Apply calibrations and evaluate on ``rows``; ``beside``: outputs judged as they are (adaptive intervals, an oracle)."""
    calibrated = {name: tuple(apply_calibration(o, calibrations[name]) for o in own) for name, own in raw.items()}
    shown = calibrated | dict(beside or {})
    parts = [
        Part(
            series.symbol,
            material.targets[i],
            series.close_time,
            rows[i],
            material.split.train[i],
            {name: own[i] for name, own in shown.items()},
            {"oracle": oracle_scales[i]} if oracle_scales else {},
        )
        for i, series in enumerate(material.series)
        if len(rows[i])
    ]
    evaluation = evaluate(
        parts,
        baselines=tuple(n for n in config.baselines if n in calibrated),
        block_bars=max(1, config.evaluation.block_ms // material.recipe.base.milliseconds),
        trials=trials,
        variance_scales={"adaptive": 1.0} | {n: c.variance_scale for n, c in calibrations.items()},
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )
    return Judgement(calibrations, calibrated, {n: tuple(o) for n, o in raw.items()}, rows, evaluation)


def verdict_of(judgement: Judgement, product: str, config: Config) -> list[VerdictRow]:
    """The verdict on the product, against the strongest baselines by name; DataError when it has no forecast on any judged bar."""
    if not any(np.isfinite(output.log_volatility).all(axis=1).any() for output in judgement.outputs[product]):
        raise DataError(
            f"{product} has no forecast on any of the {sum(len(r) for r in judgement.rows)} test bars: a feature is not known there, "
            "which a long gap in the candles does to features of long memory (`candelabra check` names the gaps): give more candles "
            "after the gap, or features and an anchor with a shorter memory"
        )
    there = [b for b in config.baselines if b in judgement.outputs and b != product]
    strong = [b for b in ("har", "harx", "lightgbm", "harx_lightgbm") if b in there]
    return verdict(judgement.evaluation, product, baselines=strong)
