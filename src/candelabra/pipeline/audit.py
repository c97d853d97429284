"""Auditing what a run made: the bundle from raw candles, its features and alignment, targets, split, networks, and a tiny refit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

import candelabra
from candelabra.bundles.engines import load_engine
from candelabra.bundles.format import Manifest
from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.config.text import from_toml
from candelabra.config.tree import Config
from candelabra.disk import write_atomically
from candelabra.errors import CandelabraError, DataError
from candelabra.evaluation.causality import audit
from candelabra.evaluation.certificate import CERTIFICATE_FILE, Certificate, certify
from candelabra.evaluation.constants import constants_of
from candelabra.evaluation.findings import Audit
from candelabra.evaluation.networks import audit_networks
from candelabra.evaluation.refit import audit_fit
from candelabra.evaluation.spans import audit_split
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.subjects import bundle_subject, label_subject, series_subject
from candelabra.evaluation.worlds import Market, World
from candelabra.metrics.calibration import Calibration
from candelabra.models.base import FittedModel
from candelabra.pipeline.fitting import fit_models
from candelabra.pipeline.judging import calibrate
from candelabra.pipeline.material import Material, prepare
from candelabra.progress import Reporter, Silent
from candelabra.report.inputs import CausalityCheck

__all__ = ["audit_bundle", "audit_refit", "certify_draft", "checks_of"]

_WATCHED: Final = (-75, -74, -73, -2, -1)
"""Base bars at which a bundle is asked: a few with three days to come after them, which a leak could read, and the newest."""
_SEEN: Final = Effort(moments=2, early=1, positions=2, sizes=(0.05, -0.3), steps=2, measured=6)
_TARGETS: Final = Effort(moments=2, early=2, steps=0)
_TINY: Final[Mapping[str, Any]] = {
    "width": 16, "layers": 1, "heads": 2, "coarse_width": 8, "coarse_layers": 1, "coarse_heads": 1, "attention_width": 8,
    "coarse_attention_width": 6, "context_length": 12,
}  # fmt: skip
_REFIT_ROWS: Final = 1_500


def certify_draft(draft: Path, values: Mapping[str, Any], material: Material, model: FittedModel, config: Config) -> Certificate:
    """The certificate of a run, written into the draft of its bundle before that is sealed: the bundle as it will be, and all behind it.

    ``values``: the entries of the manifest to come; ``model``: the product as it was fitted, for the layers of its networks.
    """
    manifest = Manifest(**({"plugins": {}} | dict(values) | {"id": "of this run"}))
    engine = load_engine(draft / "parts" / manifest.model)
    predictor = Predictor(manifest, material.recipe, engine, Calibration.load(draft / "calibration.json"))
    candles = material.candles[0]
    found = [*_of_bundle(predictor, candles, Silent(), model), _of_split(material), audit_refit(config, candles)]
    certificate = certify(found, _data(candles), candelabra.__version__)
    write_atomically(draft / CERTIFICATE_FILE, certificate.to_json().encode())
    return certificate


def checks_of(certificate: Certificate) -> tuple[CausalityCheck, ...]:
    """A line a subject for the report: whether it holds, what was found or what was tried."""
    lines = []
    for one in certificate.audits:
        judged = bool(one.tried)
        told = "; ".join(f.words for f in one.findings[:3]) or (one.summary.partition(": ")[2] if judged else "; ".join(one.notes))
        lines.append(CausalityCheck(f"Causality audit: {one.subject}", one.passed if judged or one.findings else None, told))
    return tuple(lines)


def audit_bundle(
    predictor: Predictor, folder: Path, candles: Sequence[Candles], *, refit: bool = True, progress: Reporter | None = None
) -> Certificate:
    """The same of a sealed bundle, on any candles of one symbol; its networks are opened with torch for their layers.

    DataError when the candles are too few for a forecast.
    """
    progress = progress or Silent()
    from candelabra.models.registry import load_fitted

    model = load_fitted(folder / "parts" / predictor.manifest.model)
    found = list(_of_bundle(predictor, candles, progress, model))
    if refit:
        config = from_toml((folder / "config.toml").read_text(encoding="utf-8"), str(folder / "config.toml"))
        with progress.stage("fit again on scrambled ranges"):
            found.append(audit_refit(config, candles))
    return certify(found, _data(candles), candelabra.__version__)


def _of_bundle(predictor: Predictor, candles: Sequence[Candles], progress: Reporter, model: FittedModel) -> list[Audit]:
    market = _newest(predictor, candles)
    recipe = predictor.recipe
    series = predictor.series(list(market.candles.values()))
    watched = series.close_time[[k for k in _WATCHED if -k <= len(series)]]
    asked = Effort.light(at=(int(watched[-3]), int(watched[-2])) if len(watched) > 2 else ())
    steps: dict[str, Callable[[], list[Audit]]] = {
        "bundle": lambda: [audit(bundle_subject(predictor, watched), market, effort=asked)],
        "features": lambda: [audit(series_subject(recipe, "features of every timeframe, as of each close"), market, effort=_SEEN)],
        "targets": lambda: [audit(label_subject(recipe), Market.of(series.base_candles), effort=_TARGETS)],
        "networks": lambda: audit_networks(model, series),
    }
    return audited(steps, "audit the bundle", progress)


def audited(steps: Mapping[str, Callable[[], list[Audit]]], stage: str, progress: Reporter) -> list[Audit]:
    """The audits of every step, by name; one that cannot be is a note with the reason."""
    found: list[Audit] = []
    with progress.stage(stage, total=len(steps)):
        for name, step in steps.items():
            try:
                found += step()
            except CandelabraError as refused:
                found.append(Audit(name, notes=(str(refused)[:200],)))
            progress.advance(1)
    return found


def _newest(predictor: Predictor, candles: Sequence[Candles]) -> Market:
    """What the forecasts that are watched need of the candles, and no more; DataError when there are none."""
    needed = max(Timeframe(tf).milliseconds * (bars + 2) for tf, bars in predictor.manifest.needs.items())
    end = min(int(c.close_time[-1]) for c in candles if len(c)) if any(len(c) for c in candles) else 0
    span = needed + (2 - _WATCHED[0]) * predictor.recipe.base.milliseconds
    # gaps take time and bring no bars: half as much again where there is room
    given = [c.between(start_ms=end - span * 3 // 2) for c in candles]
    if not any(len(c) for c in given):
        raise DataError("an audit needs candles: give files that have some")
    return Market.of(given)


def _of_split(material: Material) -> Audit:
    """Purge and embargo of the run's own split, over every symbol (the worst of them)."""
    found = []
    base = material.recipe.base
    for i, series in enumerate(material.series):
        parts = {name: material.split.part(name)[i] for name in ("train", "validation", "calibration", "test")}
        found.append(
            audit_split(
                f"split of {series.symbol}", {n: r for n, r in parts.items() if len(r)}, series.close_time, material.targets[i].known_at,
                unit_ms=base.milliseconds, unit=base.name, embargo_ms=material.split.embargo_ms,
            )
        )  # fmt: skip
    findings = tuple(f for a in found for f in a.findings)
    tried = {"pairs of parts": sum(a.tried["pairs of parts"] for a in found), "rows": sum(a.tried["rows"] for a in found)}
    return Audit("split", findings, tried, (), sum(a.columns for a in found), sum(a.rows for a in found))


def audit_refit(config: Config, candles: Sequence[Candles]) -> Audit:
    """A tiny fit of everything the config fits, on the newest of ``candles``, and again with each later range scrambled.

    Scalers may read train, weights, early stopping and ensemble weights validation too, calibration the calibration range; nothing the
    test range. Too few candles give an audit with a note instead of a fit.
    """
    small = _tiny(config)
    name = "everything fitted (tiny refit)"
    try:
        first = prepare(_latest(candles, small), small)
    except CandelabraError as short:
        return Audit(name, notes=(f"not fitted again: {str(short)[:200]}",))
    cuts = first.split.cuts_ms
    market = Market.of(list(first.candles[0]))

    def fit(world: World) -> dict[str, Any]:
        assert isinstance(world, Market)
        material = prepare(list(world.candles.values()), small)
        fitted = fit_models(small, material.fit_data, Silent())
        product = fitted.models[fitted.product]
        constants: dict[str, Any] = {}
        for key, value in constants_of(product).items():
            if ".scalers." in key:
                constants[f"scalers: {key.replace('.scalers.', '.')}"] = value
            else:
                constants[f"weights: {key}"] = value
        calibration = calibrate(material, {fitted.product: product}, Silent())[0][fitted.product]
        constants["shrinkage"] = np.asarray(calibration.mean_shrinkage)
        constants["calibration: variance"] = np.asarray(calibration.variance_scale)
        if calibration.intervals is not None:
            constants["calibration: intervals"] = np.asarray(calibration.intervals.constants)
        return constants

    until = {"scalers": cuts[1], "weights": cuts[2], "shrinkage": cuts[2], "calibration": cuts[3]}
    try:
        return audit_fit(name, fit, market, until, seeds=1, ways=("values",), measure=False, hearing=False, seed=config.seed)
    except CandelabraError as refused:
        return Audit(name, notes=(f"not fitted again: {str(refused)[:200]}",))


def _tiny(config: Config) -> Config:
    """The same settings, with a network of a few hundred weights, trained for two steps."""
    settings = config.model.settings
    known = {f.name for f in fields(settings)} if hasattr(settings, "__dataclass_fields__") else set()
    shrunk = replace(settings, **{k: v for k, v in _TINY.items() if k in known}) if known else settings
    training = replace(
        config.training, sequence_length=32, batch_size=2, steps=2, evaluate_every=1, warmup_steps=1, seeds=1, rehearsal=0.0,
        precision="float32", tensorboard=False, compile="off", threads=config.training.threads or 1,
    )  # fmt: skip
    return replace(config, model=replace(config.model, settings=shrunk), training=training, baselines=())


def _latest(candles: Sequence[Candles], config: Config) -> list[Candles]:
    """As many of the newest candles as a tiny fit needs: the longest memory of any feature, and some rows to learn from."""
    from candelabra.windows.recipe import candles_needed

    recipe = config.recipe()
    needs = candles_needed(recipe, {}, 720)
    span = max(Timeframe(tf).milliseconds * bars for tf, bars in needs.items()) + _REFIT_ROWS * recipe.base.milliseconds
    end = max(int(c.close_time[-1]) for c in candles if len(c))
    return [c.between(start_ms=end - span) for c in candles]


def _data(candles: Sequence[Candles]) -> dict[str, str]:
    return {f"{c.symbol} {c.timeframe}": c.fingerprint for c in candles}
