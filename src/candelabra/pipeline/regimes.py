"""The journey of a learning set: candles and labels -> one network with a head a timeframe -> decoders -> judgement -> sealed bundle."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

import candelabra
from candelabra.bundles.format import Manifest, seal
from candelabra.bundles.watching import Watch, fit_watch, save_watches
from candelabra.candles.frame import Candles, format_minute
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.config.text import to_toml
from candelabra.config.tree import Config, WindowsSection
from candelabra.disk import write_atomically
from candelabra.errors import DataError
from candelabra.evaluation.certificate import Certificate
from candelabra.evaluation.regimes import TimeframeVerdict, judge_regimes, labels_when_new
from candelabra.models.regime_encoder import Mode
from candelabra.models.regime_inputs import candles_at
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.regime_transformer import RegimeTransformerSettings
from candelabra.models.segmenter import Segmenter
from candelabra.pipeline.audit_regimes import certify_regimes
from candelabra.pipeline.fitting import watch_of
from candelabra.pipeline.material import by_symbol
from candelabra.pipeline.openings import log_opening
from candelabra.progress import Reporter, Silent
from candelabra.regimes.anomaly_forecasts import BarForecasts
from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.segmentation import Segmentation
from candelabra.training.bounds_notes import bounds_notes
from candelabra.training.regime_fit import RegimeData
from candelabra.training.regime_settings import MODES, Bounds, RegimeSettings, regime_training
from candelabra.training.segmenter_fit import SegmenterFit, fit_segmenter
from candelabra.training.settings import TrainingSettings

__all__ = ["MODEL", "RegimeRun", "RegimeRunSettings", "train_regimes", "verdicts_of", "watches_of"]

MODEL: Final = "regimes"
"""``model`` in the manifest of a bundle that holds regimes and no forecast."""

_LIBRARIES: Final = ("numpy", "numba", "scipy", "torch", "lightgbm")


@dataclass(frozen=True)
class RegimeRunSettings:
    """``shares`` of time for train, validation, calibration and test; ``modes``; the network's and the loop's settings; ``bounds`` of
    filtered decoders; ``seed``.
    """

    shares: tuple[float, ...] = (0.6, 0.1, 0.1, 0.2)
    modes: tuple[Mode, ...] = MODES
    network: TcnSettings | RegimeTransformerSettings = field(default_factory=TcnSettings)
    training: TrainingSettings = field(default_factory=regime_training)
    bounds: Bounds = field(default_factory=lambda: Bounds(None, None))
    seed: int = 0

    def __post_init__(self) -> None:
        self.config()

    @classmethod
    def of(cls, config: Config) -> RegimeRunSettings:
        """What a tree says of regimes: its section ``regimes``, ``windows.shares`` and ``seed``."""
        own = config.regimes
        return cls(config.windows.shares, own.modes, own.chosen, own.training, own.bounds, config.seed)

    def config(self) -> Config:
        """A tree that says the same; UsageError for what cannot be."""
        network = {"transformer" if self.network.kind == "transformer" else "network": self.network}
        own = RegimeSettings(
            only=True, modes=self.modes, encoder=self.network.kind, training=self.training, bounds=self.bounds,
            **network,  # type: ignore[arg-type]
        )  # fmt: skip
        return Config(seed=self.seed, windows=WindowsSection(shares=self.shares), regimes=own)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class RegimeRun:
    """Where a run's results are and what they say: verdicts by mode, in the order of the timeframes."""

    folder: Path
    bundle: Path
    manifest: Manifest
    fits: dict[Mode, SegmenterFit]
    verdicts: dict[Mode, tuple[TimeframeVerdict, ...]]
    certificate: Certificate
    trials: int
    openings: int
    seconds: float


def train_regimes(
    candles: Sequence[Candles],
    learning_set: LearningSet,
    settings: RegimeRunSettings | Config | None = None,
    *,
    folder: str | Path | None = None,
    runs: Path = Path("runs"),
    progress: Reporter | None = None,
) -> RegimeRun:
    """Learn a learning set and say how sure that is; writes a run folder with ``config.toml``, a sealed bundle and ``verdict.json``.

    The base is the finest timeframe that has labels; candles of it, or finer, are needed of each labelled symbol. DataError names what
    does not fit.
    """
    chosen = RegimeRunSettings.of(settings) if isinstance(settings, Config) else settings or RegimeRunSettings()
    tree = settings if isinstance(settings, Config) else chosen.config()
    tell, began = progress or Silent(), time.perf_counter()
    if isinstance(settings, Config):
        candles = [one for own in by_symbol(candles, settings).values() for one in own]
    base_candles, data, cuts = _material(candles, learning_set, chosen)
    identity = hashlib.sha256((learning_set.fingerprint + json.dumps(chosen.as_dict(), sort_keys=True)).encode()).hexdigest()[:10]
    place = Path(folder) if folder else runs / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-regimes-{identity}"
    if (place / "bundle").exists():
        raise DataError(f"{place} already holds a sealed bundle: choose another folder, or remove it")
    fingerprint = hashlib.sha256("".join(c.fingerprint for c in base_candles).encode()).hexdigest()
    _begin(place, {"settings and labels": identity, "candles": fingerprint}, tree)
    fits: dict[Mode, SegmenterFit] = {}
    for mode in chosen.modes:
        with tell.stage(f"train {mode} regimes of {', '.join(data.segmentations)}", total=chosen.training.seeds * chosen.training.steps):
            fits[mode] = fit_segmenter(
                data, chosen.network, chosen.training, mode=mode, bounds=chosen.bounds, seed=chosen.seed,
                folder=place / "checkpoints" / mode, progress=watch_of(tell, chosen.training.evaluate_every),
            )  # fmt: skip
    trials, openings = log_opening(place.parent, fingerprint, cuts[3], cuts[4], identity)
    verdicts: dict[Mode, tuple[TimeframeVerdict, ...]] = {}
    with tell.stage("judge on the test range"):
        for mode, fit in fits.items():
            unkept = bounds_notes(fit, chosen.bounds)
            verdicts[mode] = tuple(
                replace(one, notes=(unkept[one.timeframe], *one.notes)) if one.timeframe in unkept else one
                for one in verdicts_of(fit.segmenter, fit, data, cuts)
            )
    watches = watches_of(data, cuts, tell)
    draft = _draft(place, data, fits, watches, verdicts, chosen, tree)
    with tell.stage("certify that nothing reads the future"):
        certificate = certify_regimes(draft, data, seed=chosen.seed, progress=tell)
    for finding in certificate.findings:
        tell.note(f"the causality audit found: {finding.subject}: {finding.words}")
    with tell.stage("seal the bundle"):
        manifest = _seal(draft, place, base_candles, data, fits, learning_set, chosen, cuts, trials)
    told = {mode: [one.as_dict() for one in all_] for mode, all_ in verdicts.items()}
    write_atomically(place / "verdict.json", json.dumps(told, indent=1).encode())
    return RegimeRun(place, place / "bundle", manifest, fits, verdicts, certificate, trials, openings, time.perf_counter() - began)


def _begin(place: Path, now: dict[str, str], tree: Config) -> None:
    """Mark what a run is of; DataError where the folder holds the checkpoints of another, which would be gone on with."""
    mark = place / "begun.json"
    if mark.is_file():
        then = json.loads(mark.read_text(encoding="utf-8"))
        differs = [name for name in now if then.get(name) != now[name]]
        if differs:
            raise DataError(f"{place} was begun with other {' and other '.join(differs)}: give those to go on with it, or another folder")
    else:
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / "config.toml", to_toml(tree).encode())
        write_atomically(mark, json.dumps(now).encode())


def _material(
    candles: Sequence[Candles], learning_set: LearningSet, settings: RegimeRunSettings
) -> tuple[tuple[Candles, ...], RegimeData, tuple[int, ...]]:
    """Base candles of every labelled symbol, the data and the five cuts (ms)."""
    markets = {(one.symbol, one.timeframe) for one in learning_set.segmentations if len(one)}
    if not markets:
        raise DataError("the learning set has no labelled segment: hand in segments with labels, or make some with `candelabra label make`")
    frames = sorted({frame for _, frame in markets})
    base = frames[0]
    own = []
    for symbol in sorted({symbol for symbol, _ in markets}):
        fits = [c for c in candles if c.symbol == symbol and (c.timeframe == base or c.timeframe.divides_into(base)) and len(c)]
        if not fits:
            there = ", ".join(f"{c.symbol} {c.timeframe}" for c in candles) or "no candles"
            raise DataError(
                f"{symbol} is labelled at {base}, but the candles given ({there}) have no {base} bars of it, nor finer ones: give them, or "
                "leave the symbol out of the learning set"
            )
        own.append(candles_at(max(fits, key=lambda c: c.timeframe.milliseconds), base))
    start, end = min(int(c.close_time[0]) for c in own), max(int(c.close_time[-1]) for c in own)
    cuts = (start, *(start + round(float(s) * (end - start)) for s in np.cumsum(settings.shares)[:-1]), end)
    segmentations: dict[str, tuple[Segmentation | None, ...]] = {}
    for frame in frames:
        segmentations[frame.name] = tuple(learning_set.consensus(c.symbol, frame) if (c.symbol, frame) in markets else None for c in own)
        _require_fit(frame, base)
    return tuple(own), RegimeData(tuple(own), learning_set.labels, segmentations, cuts[1], cuts[2]), cuts


def _require_fit(frame: Timeframe, base: Timeframe) -> None:
    if frame != base and not base.divides_into(frame):
        raise DataError(f"{frame} bars are not made of whole {base} bars, the finest timeframe that is labelled: leave one of the two out")


def watches_of(data: RegimeData, cuts: tuple[int, ...], tell: Reporter, forecasts: Mapping[str, BarForecasts] | None = None) -> list[Watch]:
    """What is usual of each symbol and timeframe, fitted on train and calibration; where it cannot be, the reason is noted.

    ``forecasts`` of the next base bar, by symbol, a row to each of ``data.candles``: base bars are then judged by them.
    """
    watches = []
    with tell.stage("watch for anomalies", total=len(data.candles) * len(data.segmentations)):
        for one in data.candles:
            for name in data.segmentations:
                told = (forecasts or {}).get(one.symbol) if timeframe(name) == data.base else None
                made = fit_watch(candles_at(one, timeframe(name)), cuts[1], (cuts[2], cuts[3]), forecasts=told)
                if isinstance(made, str):
                    tell.note(f"no anomalies of {one.symbol} {name}: {made}")
                else:
                    watches.append(made)
                tell.advance(1)
    return watches


def verdicts_of(segmenter: Segmenter, fit: SegmenterFit, data: RegimeData, cuts: tuple[int, ...]) -> tuple[TimeframeVerdict, ...]:
    """How a segmenter does on the test range, at each timeframe; ``cuts`` (ms) of train, validation, calibration and test."""
    began = time.process_time()
    told = [segmenter.regimes(c) for c in data.candles]
    cost = 1e5 * (time.process_time() - began) / max(1, sum(map(len, data.candles)))
    new = [labels_when_new(segmenter.regimes, c, one, cuts[3], cuts[4]) for c, one in zip(data.candles, told, strict=True)]
    found = []
    for name, labels in fit.network.heads.items():
        own = [candles_at(c, timeframe(name)) for c in data.candles]
        learned, truth = [], []
        for number, c in enumerate(own):
            learnable = data.codes(name, number, c, data.train_end_ms, labels)[0]
            learned.append(learnable[: int(np.searchsorted(c.close_time, data.train_end_ms, "right"))])
            every = data.codes(name, number, c, np.iinfo(np.int64).max - 1, labels)[0]
            truth.append(np.where((c.close_time > cuts[3]) & (c.close_time <= cuts[4]), every, -1).astype(np.int16))
        shown = [(one[name].code, one[name].probabilities) for one in told]
        verdict = judge_regimes(
            name, labels, own, learned, truth, shown, fit.network.durations[name], smoothed=segmenter.mode == "smoothed",
            when_new=[one[name] for one in new],
        )  # fmt: skip
        found.append(verdict)
    spent = f"{segmenter.mode} regimes take {cost:.2g} CPU-seconds for 100,000 {segmenter.base} bars, all timeframes together"
    return tuple(replace(one, notes=(*one.notes, spent)) for one in found)


def _draft(
    place: Path, data: RegimeData, fits: dict[Mode, SegmenterFit], watches: Sequence[Watch],
    verdicts: dict[Mode, tuple[TimeframeVerdict, ...]], settings: RegimeRunSettings, tree: Config,
) -> Path:  # fmt: skip
    """The folder that will be the bundle: what reads regimes, what watches for anomalies, what is said of them, and the settings."""
    draft = place / "draft"
    for mode, fit in fits.items():
        fit.segmenter.save(draft / "parts" / f"{MODEL}-{mode}")
    save_watches(watches, draft)
    metrics = {mode: [one.as_dict() for one in all_] for mode, all_ in verdicts.items()}
    (draft / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
    (draft / "regimes-settings.json").write_text(json.dumps(settings.as_dict(), indent=1), encoding="utf-8")
    anywhere = replace(
        tree, candles=replace(tree.candles, paths=()), regimes=replace(tree.regimes, labels="")
    )  # files lie elsewhere elsewhere
    (draft / "config.toml").write_text(to_toml(anywhere), encoding="utf-8")
    return draft


def _seal(
    draft: Path, place: Path, candles: Sequence[Candles], data: RegimeData, fits: dict[Mode, SegmenterFit],
    learning_set: LearningSet, settings: RegimeRunSettings, cuts: tuple[int, ...], trials: int,
) -> Manifest:  # fmt: skip
    names = ("train", "validation", "calibration", "test")
    recipe = {"base": data.base.name, "timeframes": list(data.segmentations), "learning_set": learning_set.fingerprint, "modes": list(fits)}
    values = {
        "model": MODEL, "created_ms": int(time.time() * 1000), "version": candelabra.__version__,
        "symbols": tuple(c.symbol for c in candles), "simulated": any(c.simulated for c in candles), "horizons": (),
        "needs": {data.base.name: max(fit.segmenter.needs for fit in fits.values())}, "recipe": recipe,
        "feature_versions": {},
        "data": {c.symbol: _of(c) for c in candles},
        "ranges": {name: (cuts[k], cuts[k + 1]) for k, name in enumerate(names)},
        "libraries": {name: metadata.version(name) for name in _LIBRARIES}, "seed": settings.seed, "trials": trials,
    }  # fmt: skip
    return seal(draft, place / "bundle", values)


def _of(candles: Candles) -> dict[str, Any]:
    first, last = format_minute(int(candles.open_time[0])), format_minute(int(candles.close_time[-1]))
    return {"fingerprint": candles.fingerprint, "from": first, "to": last}
