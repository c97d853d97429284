"""Calibrating every model before the test range and judging them all on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.config.tree import Config
from candelabra.evaluation.calibration import fit_calibration, outcomes
from candelabra.evaluation.judged import Part
from candelabra.evaluation.results import Evaluation
from candelabra.evaluation.skill import evaluate
from candelabra.evaluation.verdict import VerdictRow, verdict
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.pipeline.material import Material
from candelabra.progress import Reporter

__all__ = ["Judgement", "calibrate", "judge", "judge_outputs", "verdict_of"]

Rows = tuple[NDArray[np.int64], ...]


@dataclass(frozen=True, eq=False)
class Judgement:
    """Calibrations by model, their outputs on the test rows (calibrated, and as they came), and the evaluation."""

    calibrations: dict[str, Calibration]
    outputs: dict[str, tuple[ModelOutput, ...]]
    raw: dict[str, tuple[ModelOutput, ...]]
    rows: Rows
    evaluation: Evaluation


def calibrate(
    material: Material, models: Mapping[str, FittedModel], progress: Reporter
) -> tuple[dict[str, Calibration], dict[str, list[ModelOutput]]]:
    """Constants of every model from its validation and calibration rows, and its raw outputs on the test rows."""
    validation, calibration, test = (material.split.part(p) for p in ("validation", "calibration", "test"))
    names = tuple(h.name for h in material.recipe.horizons)
    constants: dict[str, Calibration] = {}
    tested: dict[str, list[ModelOutput]] = {}
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
            tested[name] = parts[2]
            progress.advance(1)
    return constants, tested


def judge(
    material: Material, models: Mapping[str, FittedModel], config: Config, trials: int, progress: Reporter,
    oracle: tuple[ModelOutput, ...] | None = None,
) -> Judgement:  # fmt: skip
    """Calibrate all models, then open the test range once for all of them together."""
    constants, tested = calibrate(material, models, progress)
    with progress.stage("judge"):
        return judge_outputs(material, constants, tested, material.split.test, config, trials, oracle)


def judge_outputs(
    material: Material,
    calibrations: dict[str, Calibration],
    raw: Mapping[str, list[ModelOutput] | tuple[ModelOutput, ...]],
    rows: Rows,
    config: Config,
    trials: int,
    oracle: tuple[ModelOutput, ...] | None = None,
) -> Judgement:
    """Apply calibrations and evaluate on ``rows``; the oracle of a simulated market is judged beside the models."""
    calibrated = {name: tuple(apply_calibration(o, calibrations[name]) for o in own) for name, own in raw.items()}
    shown = calibrated | ({"oracle": oracle} if oracle is not None else {})
    parts = [
        Part(
            series.symbol,
            material.targets[i],
            series.close_time,
            rows[i],
            material.split.train[i],
            {name: own[i] for name, own in shown.items()},
        )
        for i, series in enumerate(material.series)
        if len(rows[i])
    ]
    evaluation = evaluate(
        parts,
        baselines=tuple(n for n in config.baselines if n in calibrated),
        block_bars=max(1, config.evaluation.block_ms // material.recipe.base.milliseconds),
        trials=trials,
        variance_scales={n: c.variance_scale for n, c in calibrations.items()},
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )
    return Judgement(calibrations, calibrated, {n: tuple(o) for n, o in raw.items()}, rows, evaluation)


def verdict_of(judgement: Judgement, product: str, config: Config) -> list[VerdictRow]:
    """The verdict on the product, against the strongest baselines by name."""
    there = [b for b in config.baselines if b in judgement.outputs and b != product]
    strong = [b for b in ("har", "harx", "lightgbm", "harx_lightgbm") if b in there]
    scaled = [b for b in ("ewma", "har", "harx", "garch", "lightgbm", "harx_lightgbm") if b in there]
    return verdict(judgement.evaluation, product, baselines=strong, quantile_baselines=scaled)
