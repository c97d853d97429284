"""The main job: candles -> models -> calibration -> judgement -> sealed bundle -> report."""

from __future__ import annotations

import json
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

import candelabra
from candelabra.bundles.card import write_card
from candelabra.bundles.format import Manifest, seal
from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.candles.oracle import oracle_log_volatility, oracle_return, oracle_variance
from candelabra.candles.simulate import SimulatedMarket
from candelabra.config.text import from_toml, to_toml
from candelabra.config.tree import Config, config_hash
from candelabra.disk import write_atomically
from candelabra.errors import DataError
from candelabra.evaluation.certificate import Certificate
from candelabra.evaluation.verdict import VerdictRow
from candelabra.features.catalog import parse
from candelabra.live.drift import input_edges, write_edges
from candelabra.models.base import QUANTILE_LEVELS, FittedModel, ModelOutput
from candelabra.models.network import FittedNetwork
from candelabra.pipeline.audit import certify_draft, checks_of
from candelabra.pipeline.backtesting import RULE_FILE, account_of, backtest_test, choose_rule, plain_json, write_rule
from candelabra.pipeline.fitting import Fitted, fit_models, resolved
from candelabra.pipeline.joint import (
    JointRegimes,
    certify_jointly,
    check_regimes,
    learn_alone,
    next_bars,
    read_jointly,
    regime_rows,
    save_regimes,
    scores_of,
    views_of,
)
from candelabra.pipeline.judging import Judgement, Oracle, judge, verdict_of
from candelabra.pipeline.material import Material, prepare
from candelabra.pipeline.openings import log_opening
from candelabra.pipeline.present import Story, sections, summarise
from candelabra.pipeline.selfcheck import check_bundle
from candelabra.pipeline.start import starting_networks
from candelabra.progress import Reporter, Silent
from candelabra.regimes.learning_set import LearningSet
from candelabra.report.inputs import Range, ReportInputs, RunFacts
from candelabra.report.page import write_report
from candelabra.sources.files import write_candles
from candelabra.trading.choice import Choice
from candelabra.trading.study import Study
from candelabra.training.export import export_graphs
from candelabra.windows.recipe import candles_needed
from candelabra.windows.splits import PARTS

__all__ = ["CANDLES_FILE", "TrainResult", "train"]

CANDLES_FILE: Final = "candles.parquet"
"""In the run folder of a simulated market: its candles, so that the run can be resumed and the verbs that come after have something."""

_LIBRARIES: Final = ("numpy", "torch", "onnxruntime", "lightgbm", "TA-Lib", "transformers")


@dataclass(frozen=True, eq=False)
class TrainResult:
    """Where a run's results are and what they say."""

    folder: Path
    bundle: Path
    report: Path
    verdict: list[VerdictRow]
    judgement: Judgement
    product: str
    seconds: dict[str, float]
    notes: list[str] = field(default_factory=list)
    traded: Study | None = None
    regimes: JointRegimes | None = None


def train(
    config: Config,
    candles: Sequence[Candles],
    *,
    folder: Path | None = None,
    runs: Path = Path("runs"),
    progress: Reporter | None = None,
    market: Mapping[str, SimulatedMarket] | None = None,
    resume: Path | None = None,
    commands: Sequence[str] = (),
    labels: LearningSet | None = None,
) -> TrainResult:
    """Learn from candles and say how sure that is; writes a run folder with bundle and report.

    ``folder``: the run folder (default: ``<runs>/<UTC>-<model>-<config hash>``). ``resume``: a run folder whose training was
    interrupted; its own config is used and the weights come out as if it had not been. ``market``: the truth of simulated
    candles, by symbol; they are kept in the run folder. ``labels``: a learning set whose regimes are learned beside the forecast, in the
    same network; they are sealed in the same bundle, filtered and smoothed apart.
    """
    progress = progress or Silent()
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    if resume is not None:
        config = _config_of(resume)
    config = resolved(config)
    with progress.stage("candles to features"):
        material = prepare(candles, config)
    seconds["features"] = time.perf_counter() - started
    start = starting_networks(config, material.recipe, material.split)
    place = resume or folder or runs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{config.model.name}-{config_hash(config)}"
    _open_folder(place, config, material, labels, resuming=resume is not None)
    for simulated in () if resume else (market or {}).values():
        write_candles(simulated.candles, place / CANDLES_FILE)

    lap = time.perf_counter()
    beside = learn_alone(config, material, labels, place / "checkpoints", progress) if labels is not None else None
    taught = beside.targets if beside is not None else None
    fitted = fit_models(config, material.fit_data, progress, place / "checkpoints", start, taught)
    seconds["training"] = time.perf_counter() - lap
    lap = time.perf_counter()
    # other labels are another trial: the hash of the config leaves out where they lie, and cannot know what they are
    tried = config_hash(config) + (labels.fingerprint[:10] if labels is not None else "")
    trials, openings = log_opening(place.parent, material.fingerprint, material.split.cuts_ms[3], material.split.cuts_ms[4], tried)
    oracle = _oracle(material, market or {}, progress)
    judgement = judge(material, fitted.models, fitted.product, config, trials, progress, oracle)
    rows = verdict_of(judgement, fitted.product, config)
    regimes = None
    if beside is not None:
        regimes = read_jointly(config, material, beside, fitted, place / "checkpoints", progress)
        rows += regime_rows(regimes)
    seconds["evaluation"] = time.perf_counter() - lap
    lap = time.perf_counter()
    with progress.stage("choose a trading rule on validation, backtest it on test"):
        choice = choose_rule(material, judgement, fitted.product, config)
        traded = backtest_test(material, judgement, fitted.product, choice, config, trials)
    seconds["backtest"] = time.perf_counter() - lap
    lap = time.perf_counter()
    notes = [*judgement.evaluation.notes, *fitted.skipped.values()]
    notes += dict.fromkeys(note for all_ in (regimes.verdicts if regimes else {}).values() for one in all_ for note in one.notes)
    with progress.stage("audit causality and seal the bundle"):
        manifest = _seal(
            config,
            material,
            fitted,
            judgement,
            place,
            rows,
            choice,
            bool(market) or any(c.simulated for own in material.candles for c in own),
            trials,
            (regimes, progress) if regimes is not None else None,
        )
    with progress.stage("check the bundle against the evaluation"):
        checks = check_bundle(Predictor.open(place / "bundle"), material, judgement, fitted.product)
        certificate = Certificate.load(place / "bundle")
        checks += checks_of(certificate) if certificate is not None else ()
        checks += check_regimes(place / "bundle", regimes) if regimes is not None else ()
    failed = [check for check in checks if check.passed is False]
    notes += [f"CHECK FAILED: {check.what}: {check.detail}" for check in failed]
    seconds["bundle"] = time.perf_counter() - lap
    lap = time.perf_counter()
    story = Story(config, material, judgement, fitted.product, fitted.runs, fitted.models, market or {}, (traded, choice))
    with progress.stage("draw the report"):
        facts = _facts(config, material, fitted, judgement, manifest, openings, rows)
        page = ReportInputs(
            run=facts,
            causality=checks,
            limits=tuple(notes),
            config_toml=to_toml(config),
            versions=manifest.libraries,
            commands=tuple(commands),
            regimes=views_of(regimes, material.split.cuts_ms[3]) if regimes is not None else (),
            regime_scores=scores_of(regimes) if regimes is not None else (),
            **sections(story),  # type: ignore[arg-type]
        )
        write_report(page, place / "report.html")
    seconds["report"] = time.perf_counter() - lap
    seconds["all"] = time.perf_counter() - started
    write_atomically(place / "verdict.json", json.dumps([r.as_dict() for r in rows], indent=1).encode())
    write_atomically(place / "backtest.json", plain_json(traded.as_dict()))
    return TrainResult(place, place / "bundle", place / "report.html", rows, judgement, fitted.product, seconds, notes, traded, regimes)


def _config_of(run: Path) -> Config:
    path = run / "config.toml"
    if not path.is_file():
        raise DataError(f"{run} cannot be resumed: it has no config.toml; give the folder of an interrupted run, e.g. runs/<run>")
    return from_toml(path.read_text(encoding="utf-8"), str(path))


def _open_folder(place: Path, config: Config, material: Material, labels: LearningSet | None, *, resuming: bool) -> None:
    """Create the run folder with its config and the fingerprint of its candles, or check that a resumed one fits."""
    mark = place / "candles.json"
    now: dict[str, Any] = {"fingerprint": material.fingerprint, "symbols": list(material.symbols)}
    if labels is not None:
        now["labels"] = labels.fingerprint
    if resuming:
        if (place / "bundle").exists():
            raise DataError(f"{place} is finished: its bundle is sealed; start a new run, or open {place / 'report.html'}")
        if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) != now:
            raise DataError(f"{place} was begun with other candles or labels than those given now: give the same files to resume it")
        return
    if place.exists() and any(place.iterdir()):
        raise DataError(f"the run folder {place} is not empty: choose another --out, or continue it with --resume {place}")
    place.mkdir(parents=True, exist_ok=True)
    write_atomically(place / "config.toml", to_toml(config).encode())
    write_atomically(mark, json.dumps(now).encode())


def _oracle(material: Material, market: Mapping[str, SimulatedMarket], progress: Reporter) -> Oracle | None:
    """What somebody who knows the simulated market's state would forecast, at the test rows; None for real candles."""
    if not all(symbol in market for symbol in material.symbols):
        return None
    outputs, scales = [], []
    with progress.stage("ask the oracle", total=len(material.symbols)):
        for i, series in enumerate(material.series):
            own, rows = market[series.symbol], material.split.test[i]
            fine = own.candles.timeframe.milliseconds
            at = np.searchsorted(own.candles.close_time, series.close_time[rows])
            steps = [h.milliseconds // fine for h in material.recipe.horizons]
            per = material.recipe.volatility_timeframe.milliseconds // fine
            mean = np.column_stack([oracle_return(own, s)[at] for s in steps])
            volatility = np.full(mean.shape, np.nan)
            if per == 1:  # the oracle sums squared returns of the simulated bars themselves
                for k, s in enumerate(steps):
                    volatility[:, k] = oracle_log_volatility(own, s, rows=at, paths=16)
            variance = np.column_stack([oracle_variance(own, s)[at] for s in steps])
            scales.append(np.where(np.isfinite(volatility), variance * np.exp(-2 * volatility), 1.0))
            blank = np.full((*mean.shape, len(QUANTILE_LEVELS)), np.nan, np.float32)
            outputs.append(ModelOutput(blank, mean.astype(np.float32), volatility.astype(np.float32)))
            progress.advance(1)
    return Oracle(tuple(outputs), tuple(scales))


def _seal(
    config: Config, material: Material, fitted: Fitted, judgement: Judgement, place: Path, rows: Sequence[VerdictRow], choice: Choice,
    simulated: bool, trials: int, regimes: tuple[JointRegimes, Reporter] | None = None,
) -> Manifest:  # fmt: skip
    draft = place / ".bundle-draft"
    shutil.rmtree(draft, ignore_errors=True)
    product = fitted.models[fitted.product]
    part = draft / "parts" / fitted.product
    product.save(part)
    _export(product, part)
    (draft / "config.toml").write_text(to_toml(config), encoding="utf-8")
    judgement.calibrations[fitted.product].save(draft / "calibration.json")
    for name in (b for b in config.baselines if b in fitted.models):  # a later evaluation needs its rivals as they were
        fitted.models[name].save(draft / "baselines" / name)
        judgement.calibrations[name].save(draft / "baselines" / name / "calibration.json")
    write_rule(draft / RULE_FILE, choice, account_of(config))
    if regimes is not None:
        foretold = next_bars(regimes[0], material, product, judgement.calibrations[fitted.product])
        save_regimes(regimes[0], material, draft, regimes[1], foretold)
    write_edges(draft, input_edges(material.series, material.split.train))
    (draft / "metrics.json").write_text(judgement.evaluation.to_json(), encoding="utf-8")
    series = material.series[0]
    features = {
        tf: [{"name": n, "warm_up": w, "formula": parse(n).kind.formula} for n, w in zip(t.names, t.warm_up, strict=True)]
        for tf, t in series.features.items()
    }
    (draft / "features.json").write_text(json.dumps(features, indent=1), encoding="utf-8")
    values: dict[str, Any] = {
        "model": fitted.product,
        "created_ms": int(time.time() * 1000),
        "version": candelabra.__version__,
        "symbols": material.symbols,
        "simulated": simulated,
        "horizons": tuple(h.name for h in material.recipe.horizons),
        "needs": candles_needed(material.recipe, _windows(product), int(getattr(product, "warm_up", 0))),
        "recipe": json.loads(material.recipe.to_json()),
        "feature_versions": {tf: t.version for tf, t in series.features.items()},
        "data": {
            s.symbol: {
                "fingerprint": s.base_candles.fingerprint,
                "first_ms": int(s.base_candles.open_time[0]),
                "last_ms": int(s.close_time[-1]),
                "bars": len(s),
            }
            for s in material.series
        },
        "ranges": {name: (material.split.cuts_ms[k], material.split.cuts_ms[k + 1]) for k, name in enumerate(PARTS)},
        "libraries": {"python": platform.python_version()} | {name: metadata.version(name) for name in _LIBRARIES},
        "seed": config.seed,
        "trials": trials,
    }
    lines = [f"{r.what} ({r.horizon}): {r.figure} {r.interval}: {r.words}" for r in rows]
    (draft / "CARD.md").write_text(write_card(values, lines, judgement.evaluation.notes), encoding="utf-8")
    certify_draft(draft, values, material, product, config)
    if regimes is not None:
        certify_jointly(draft, regimes[0], material.recipe, fitted.product, config.seed)
    return seal(draft, place / "bundle", values)


def _export(model: FittedModel, part: Path) -> None:
    """ONNX graphs for every network in a part, members of an ensemble included."""
    if isinstance(model, FittedNetwork):
        export_graphs(model, part)
    for name, member in getattr(model, "members", {}).items():
        _export(member, part / name)


def _windows(model: FittedModel) -> dict[str, int]:
    """Bars of each timeframe that a model, or any member of it, looks at."""
    found: dict[str, int] = dict(model.windows) if isinstance(model, FittedNetwork) else {}
    for member in getattr(model, "members", {}).values():
        for tf, bars in _windows(member).items():
            found[tf] = max(bars, found.get(tf, 0))
    return found


def _facts(
    config: Config,
    material: Material,
    fitted: Fitted,
    judgement: Judgement,
    manifest: Manifest,
    openings: int,
    rows: Sequence[VerdictRow],
) -> RunFacts:
    summary = summarise(judgement.evaluation, fitted.product, config)
    if bugs := [f"{r.what} ({r.horizon})" for r in rows if r.flag]:
        summary = f"TOO GOOD TO BE TRUE, a bug until proven otherwise: {'; '.join(bugs)}. {summary}"
    return RunFacts(
        symbols=material.symbols,
        timeframes=tuple(f.name for f in (material.recipe.base, *material.recipe.coarse, *material.recipe.fine)),
        ranges=tuple(Range(name, *manifest.ranges[name], bars=sum(len(r) for r in material.split.part(name))) for name in PARTS),
        model=fitted.product + (f" of {', '.join(config.ensemble.members)}" if fitted.product == "ensemble" else ""),
        bundle_id=manifest.id,
        seed=config.seed,
        created_ms=manifest.created_ms,
        version=manifest.version,
        simulated=manifest.simulated,
        trials=manifest.trials,
        test_openings=openings,
        summary=summary,
    )
