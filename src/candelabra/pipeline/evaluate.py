"""A finished bundle on later candles, or refitted fold by fold."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from candelabra.bundles.format import Manifest, read_manifest
from candelabra.bundles.predictor import Predictor
from candelabra.bundles.verify import require_models
from candelabra.candles.frame import Candles, format_minute, format_time
from candelabra.config.text import from_toml, to_toml
from candelabra.config.tree import Config, config_hash
from candelabra.disk import write_atomically
from candelabra.errors import DataError
from candelabra.evaluation.skill import evaluate
from candelabra.evaluation.walk_forward import walk_forward as walk
from candelabra.metrics.calibration import Calibration
from candelabra.models.base import FitData, FittedModel
from candelabra.models.registry import load_fitted, new_model
from candelabra.pipeline.fitting import fit_models
from candelabra.pipeline.judging import Judgement, judge_outputs, verdict_of
from candelabra.pipeline.material import Material, prepare
from candelabra.pipeline.openings import log_opening
from candelabra.pipeline.present import Story, sections, summarise
from candelabra.pipeline.selfcheck import check_bundle
from candelabra.pipeline.train import TrainResult
from candelabra.progress import Reporter, Silent
from candelabra.report.inputs import Range, ReportInputs, RunFacts
from candelabra.report.page import write_report
from candelabra.windows.splits import walk_forward as walk_forward_folds

__all__ = ["evaluate_bundle"]


def evaluate_bundle(
    bundle: Path,
    candles: Sequence[Candles],
    *,
    folder: Path | None = None,
    runs: Path = Path("runs"),
    walk_forward: bool = False,
    folds: int = 4,
    progress: Reporter | None = None,
) -> TrainResult:
    """Judge a bundle on every bar given that closes after its calibration range, beside the baselines sealed with it.

    The weights are the bundle's, run by torch in one pass, and checked against its ONNX graphs at a few moments. ``walk_forward``: the
    bundle's configuration is refitted on ``folds`` growing ranges of the candles instead. Writes ``report.html`` and ``metrics.json``.
    Raises DataError when no bar is later than what the bundle learned from.
    """
    progress, started = progress or Silent(), time.perf_counter()
    manifest = read_manifest(bundle)
    config = from_toml((bundle / "config.toml").read_text(encoding="utf-8"), str(bundle / "config.toml"))
    config = replace(config, candles=replace(config.candles, paths=(), symbols=(), timeframes=(), since="", until=""))
    torch.set_num_threads(config.training.threads or 1)
    place = folder or runs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-evaluate-{manifest.id}"
    if place.exists() and any(place.iterdir()) and not walk_forward:
        raise DataError(f"the folder {place} is not empty: choose another --out")
    with progress.stage("candles to features"):
        material = prepare(candles, config, split=False)
    if walk_forward:
        return _walk_forward(bundle, config, material, manifest, place, folds, progress, started)
    predictor = Predictor.open(bundle)
    for one in material.candles:
        predictor.series(one)  # refuses candles or code that do not fit before anything is computed
    material, rows = _later(material, manifest)
    models: dict[str, FittedModel] = {manifest.model: load_fitted(bundle / "parts" / manifest.model)}
    calibrations = {manifest.model: Calibration.load(bundle / "calibration.json")}
    for name in config.baselines:
        if (bundle / "baselines" / name).is_dir():
            require_models(manifest, bundle / "baselines" / name)
            models[name] = load_fitted(bundle / "baselines" / name)
            calibrations[name] = Calibration.load(bundle / "baselines" / name / "calibration.json")
    with progress.stage("forecast", total=len(models)):
        raw = {}
        for name, model in models.items():
            raw[name] = [model.predict(series, at) for series, at in zip(material.series, rows, strict=True)]
            progress.advance(1)
    first, last = _span(material, rows)
    trials, openings = log_opening(place.parent, material.fingerprint, first, last, config_hash(config))
    trials = max(trials, manifest.trials)
    with progress.stage("judge"):
        judgement = judge_outputs(material, calibrations, raw, rows, config, trials)
    checks = check_bundle(predictor, material, judgement, manifest.model)
    return _finish(bundle, config, material, manifest, judgement, models, place, (first, last), openings, checks, started)


def _later(material: Material, manifest: Manifest) -> tuple[Material, tuple[np.ndarray[tuple[int], np.dtype[np.int64]], ...]]:
    """The rows after the calibration range; train rows become what the candles hold of the bundle's training range."""
    cut = manifest.ranges["test"][0]
    rows = tuple(np.flatnonzero(series.close_time > cut) for series in material.series)
    if not any(len(r) for r in rows):
        newest = max(int(s.close_time[-1]) for s in material.series)
        raise DataError(
            f"no candle given closes after {format_minute(cut)}, where the bundle's own ranges end (the newest closes "
            f"{format_time(newest)}): give later candles, together with enough earlier ones for its features"
        )
    low, high = manifest.ranges["train"]
    train = []
    for series, own in zip(material.series, rows, strict=True):
        inside = np.flatnonzero((series.close_time >= low) & (series.close_time < high - material.recipe.purge_ms))
        train.append(inside if len(inside) else own)
    return replace(material, split=replace(material.split, train=tuple(train), test=rows)), rows


def _span(material: Material, rows: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> tuple[int, int]:
    first = min(int(s.close_time[r[0]]) for s, r in zip(material.series, rows, strict=True) if len(r))
    return first, max(int(s.close_time[r[-1]]) for s, r in zip(material.series, rows, strict=True) if len(r))


def _already_opened(material: Material, judgement: Judgement, manifest: Manifest) -> str:
    """A note about judged bars that the bundle's own training run has judged already; empty without any."""
    start, end = manifest.ranges["test"]
    times = [s.close_time[rows] for s, rows in zip(material.series, judgement.rows, strict=True)]
    inside, judged = sum(int(((t > start) & (t <= end)).sum()) for t in times), sum(len(t) for t in times)
    if not inside:
        return ""
    which = "all" if inside == judged else f"{inside:,} of the {judged:,}"
    return (
        f"{which} judged bars lie in the bundle's own test range ({format_minute(start)} to {format_minute(end)} UTC), which was opened "
        "when it was trained: on them this is no fresh evidence"
    )


def _finish(
    bundle: Path, config: Config, material: Material, manifest: Manifest, judgement: Judgement, models: dict[str, FittedModel], place: Path,
    span: tuple[int, int], openings: int, checks: object, started: float,
) -> TrainResult:  # fmt: skip
    product = manifest.model
    rows = verdict_of(judgement, product, config)
    notes = list(judgement.evaluation.notes)
    if all(np.array_equal(a, b) for a, b in zip(material.split.train, judgement.rows, strict=True)):
        notes.append(
            "the training range is not among the candles given: the unconditional reference comes from the judged range (stricter)"
        )
    opened = _already_opened(material, judgement, manifest)
    if opened:
        notes.append(opened)
    story = Story(config, material, judgement, product, {}, models, {})
    facts = RunFacts(
        symbols=material.symbols,
        timeframes=tuple(f.name for f in (material.recipe.base, *material.recipe.coarse, *material.recipe.fine)),
        ranges=(Range("judged", *span, bars=sum(len(r) for r in judgement.rows)),),
        model=product,
        bundle_id=manifest.id,
        seed=manifest.seed,
        created_ms=int(time.time() * 1000),
        version=manifest.version,
        simulated=manifest.simulated or any(c.simulated for own in material.candles for c in own),
        trials=judgement.evaluation.trials,
        test_openings=openings,
        summary=summarise(judgement.evaluation, product, config),
    )
    page = ReportInputs(
        run=facts,
        causality=checks,  # type: ignore[arg-type]
        limits=tuple(notes),
        config_toml=to_toml(config),
        versions=manifest.libraries,
        commands=(f"candelabra evaluate {bundle} PATHS",),
        **sections(story),  # type: ignore[arg-type]
    )
    place.mkdir(parents=True, exist_ok=True)
    write_report(page, place / "report.html")
    write_atomically(place / "metrics.json", judgement.evaluation.to_json().encode())
    write_atomically(place / "verdict.json", json.dumps([r.as_dict() for r in rows], indent=1).encode())
    seconds = {"all": time.perf_counter() - started}
    return TrainResult(place, bundle, place / "report.html", rows, judgement, product, seconds, notes)


def _walk_forward(
    bundle: Path, config: Config, material: Material, manifest: Manifest, place: Path, folds: int, progress: Reporter, started: float
) -> TrainResult:
    """Refit product and baselines on growing ranges; finished folds are kept and read again after an interruption."""
    splits = walk_forward_folds(
        [s.close_time for s in material.series],
        folds,
        purge_ms=material.recipe.purge_ms,
        embargo_ms=config.windows.embargo_ms,
    )

    def product(data: FitData) -> FittedModel:
        return fit_models(replace(config, baselines=()), data, Silent()).models[manifest.model]

    def baseline(name: str) -> Callable[[FitData], FittedModel]:
        return lambda data: new_model(name).fit(data)

    names = [b for b in config.baselines if (bundle / "baselines" / b).is_dir() and b != manifest.model]
    fits = {manifest.model: product} | {name: baseline(name) for name in names}
    key = config_hash(config)
    with progress.stage("walk forward", total=folds * len(fits)):
        parts = walk(
            fits, material.series, material.targets, splits, place / "folds", settings=dict.fromkeys(fits, key), seed=config.seed,
            on_fold=lambda _fold, _name, _fitted: progress.advance(1),
        )  # fmt: skip
    evaluation = evaluate(
        parts,
        baselines=tuple(names),
        block_bars=max(1, config.evaluation.block_ms // material.recipe.base.milliseconds),
        trials=manifest.trials,
        resamples=config.evaluation.resamples,
        seed=config.seed,
    )
    rows = tuple(p.rows for p in parts)
    outputs = {name: tuple(p.seeds(name)[0] for p in parts) for name in fits}
    judgement = Judgement({}, outputs, outputs, rows, evaluation)
    material = replace(material, split=replace(material.split, train=splits[0].train, test=rows))
    span = _span(material, rows)
    return _finish(bundle, config, material, manifest, judgement, {}, place, span, 1, (), started)
