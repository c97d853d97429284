"""Regimes learned beside the forecast: labels onto the run's own split, the convolution first, then the network that corrects it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from candelabra.bundles.segmenting import asked, open_segmenter
from candelabra.bundles.watching import save_watches
from candelabra.candles.timeframe import timeframe
from candelabra.config.tree import Config
from candelabra.disk import write_atomically
from candelabra.errors import DataError, UsageError
from candelabra.evaluation.certificate import CERTIFICATE_FILE, Certificate
from candelabra.evaluation.regimes import TimeframeVerdict
from candelabra.evaluation.verdict import VerdictRow
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.metrics.segments import SegmentScores
from candelabra.models.base import FittedModel
from candelabra.models.network import FittedNetwork, regime_states
from candelabra.models.regime_encoder import Mode
from candelabra.models.regime_inputs import candles_at
from candelabra.models.segmenter import BaseStates
from candelabra.pipeline.audit_regimes import audit_draft
from candelabra.pipeline.fitting import JOINT, Fitted, watch_of
from candelabra.pipeline.material import Material
from candelabra.pipeline.regimes import MODEL, verdicts_of, watches_of
from candelabra.progress import Reporter
from candelabra.regimes.anomaly_forecasts import BarForecasts
from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.reading import RegimeReading
from candelabra.regimes.segment_table import segment_rows
from candelabra.regimes.segmentation import Segmentation
from candelabra.report.inputs import CausalityCheck
from candelabra.report.regime_scores import RegimeScores
from candelabra.report.regime_view import RegimeView, regime_views
from candelabra.training.bounds_notes import bounds_notes
from candelabra.training.regime_fit import RegimeData, RegimeFit, fit_regime_network
from candelabra.training.regime_problem import RegimeTargets
from candelabra.training.segmenter_fit import SegmenterFit, fit_segmenter
from candelabra.windows.recipe import Recipe
from candelabra.windows.series import Series

__all__ = [
    "Beside",
    "JointRegimes",
    "check_regimes",
    "learn_alone",
    "next_bars",
    "read_jointly",
    "regime_rows",
    "save_regimes",
    "scores_of",
    "views_of",
]

_WORDS: Final = {"macro_f1": "macro-F1", "covering": "covering"}
_FIRST: Final[Mode] = "filtered"
_BEFORE: Final = 48  # bars before calibration that are foretold too: evidence of an anomaly looks back over some
_SAME: Final = 1e-4  # of a chance, and of labels: a network's graph and torch round differently, and a threshold may lie between them


@dataclass(frozen=True, eq=False)
class Beside:
    """What is to be learned beside the forecast: the labels, the convolution that learned them alone, and its logits to be corrected."""

    data: RegimeData
    alone: RegimeFit
    targets: RegimeTargets
    fingerprint: str


@dataclass(frozen=True, eq=False)
class JointRegimes:
    """Segmenters by mode with what the test range says of each; ``told``: their readings, by mode, of each symbol."""

    data: RegimeData
    fits: dict[Mode, SegmenterFit]
    verdicts: dict[Mode, tuple[TimeframeVerdict, ...]]
    told: dict[Mode, tuple[dict[str, RegimeReading], ...]]


def learn_alone(config: Config, material: Material, learning_set: LearningSet, folder: Path | None, tell: Reporter) -> Beside:
    """Fit the convolution on the labels known by the end of the run's training range. DataError or UsageError for what does not fit."""
    if JOINT not in (config.model.name, *config.ensemble.members):
        raise UsageError(f"labels are learned beside the forecast by the model {JOINT}, and this run has none: set model.name={JOINT}, or "
                         "learn the labels alone with --regimes-only")  # fmt: skip
    data = _data(material, learning_set)
    own = config.regimes
    with tell.stage(f"train regimes of {', '.join(data.segmentations)} alone", total=own.training.seeds * own.training.steps):
        alone = fit_regime_network(
            data, own.chosen, own.training, seed=config.seed, folder=folder / "regimes-filtered" if folder else None,
            progress=watch_of(tell, own.training.evaluate_every),
        )  # fmt: skip
    return Beside(data, alone, alone.corrections(data, [s.base_candles for s in material.series]), learning_set.fingerprint)


def read_jointly(config: Config, material: Material, beside: Beside, fitted: Fitted, folder: Path | None, tell: Reporter) -> JointRegimes:
    """Choose sources and decoders on validation, the corrected convolution among them, and judge on the test range."""
    network = fitted.models[JOINT]
    assert isinstance(network, FittedNetwork)
    states = [_states(network, series) for series in material.series]
    own, fits, verdicts, told = config.regimes, {}, {}, {}
    place = {c.symbol: k for k, c in enumerate(beside.data.candles)}
    for mode in own.modes:
        beside_it = mode == _FIRST
        with tell.stage(f"choose how {mode} regimes are read", total=None if beside_it else own.training.seeds * own.training.steps):
            fit = fit_segmenter(
                beside.data, own.chosen, own.training, mode=mode, bounds=own.bounds, seed=config.seed,
                folder=folder / f"regimes-{mode}" if folder else None, progress=watch_of(tell, own.training.evaluate_every),
                network=beside.alone if beside_it else None, states=states if beside_it else None,
            )  # fmt: skip
        segmenter = replace(fit.segmenter, ask=lambda candles: states[place[candles.symbol]])
        fits[mode] = replace(fit, segmenter=segmenter)
        with tell.stage(f"judge {mode} regimes on the test range"):
            unkept = bounds_notes(fit, own.bounds)
            verdicts[mode] = tuple(
                replace(one, notes=(*((unkept[one.timeframe],) if one.timeframe in unkept else ()), *one.notes))
                for one in verdicts_of(segmenter, fit, beside.data, material.split.cuts_ms)
            )
            told[mode] = tuple(segmenter.regimes(c) for c in beside.data.candles)
    return JointRegimes(beside.data, fits, verdicts, told)


def next_bars(regimes: JointRegimes, material: Material, product: FittedModel, calibration: Calibration) -> dict[str, BarForecasts]:
    """What the product forecast of each next base bar about the calibration range, by symbol; none where it does not foretell one bar,
    or where the labels are of coarser bars than the base.
    """
    steps = material.recipe.steps
    if 1 not in steps or regimes.data.base != material.recipe.base:
        return {}
    found, cuts = {}, material.split.cuts_ms
    for series in material.series:
        begin, end = np.searchsorted(series.close_time, cuts[2:4], "right")
        rows = np.arange(max(0, begin - _BEFORE), end)
        output = apply_calibration(product.predict(series, rows), calibration)
        quantiles = np.full((len(series), len(output.levels)), np.nan)
        quantiles[rows] = output.quantiles[:, steps.index(1)]
        found[series.symbol] = BarForecasts.of(quantiles, output.levels)
    return found


def save_regimes(
    regimes: JointRegimes, material: Material, draft: Path, tell: Reporter, forecasts: Mapping[str, BarForecasts] | None = None
) -> None:
    """Write every mode as a part of its own, what is usual of each market (``forecasts``: see `next_bars`), and the figures."""
    for mode, fit in regimes.fits.items():
        fit.segmenter.save(draft / "parts" / f"{MODEL}-{mode}")
    save_watches(watches_of(regimes.data, material.split.cuts_ms, tell, forecasts), draft)
    figures = {mode: [one.as_dict() for one in all_] for mode, all_ in regimes.verdicts.items()}
    (draft / "regimes-metrics.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")


def certify_jointly(draft: Path, regimes: JointRegimes, recipe: Recipe, product: str, seed: int) -> None:
    """Add what was audited of the regimes to the certificate of the forecast that lies in the draft."""
    certificate = Certificate.load(draft)
    assert certificate is not None
    found = audit_draft(draft, regimes.data, seed=seed, ask=asked(draft / "parts" / product, recipe))
    write_atomically(draft / CERTIFICATE_FILE, replace(certificate, audits=(*certificate.audits, *found)).to_json().encode())


def check_regimes(bundle: Path, regimes: JointRegimes) -> tuple[CausalityCheck, ...]:
    """Filtered regimes of the sealed bundle, from candles cut inside the test range, against those that were judged: none is revised."""
    if _FIRST not in regimes.fits:
        return ()
    segmenter = open_segmenter(bundle)[1]
    bars = differ = 0
    away = 0.0
    for candles, whole in zip(regimes.data.candles, regimes.told[_FIRST], strict=True):
        cut = candles.rows(slice(0, len(candles) - max(1, len(candles) // 10)))
        for name, again in segmenter.regimes(cut).items():
            before = whole[name].rows(slice(0, len(again)))
            bars += len(again)
            differ += int((again.code != before.code).sum())
            away = max(away, float(np.nanmax(np.abs(again.probabilities - before.probabilities), initial=0.0)))
    return (
        CausalityCheck(
            "Filtered regimes of the sealed bundle from candles cut inside the test range equal those that were judged",
            away <= _SAME and differ <= _SAME * bars,
            f"{differ:,} of {bars:,} labels differ, chances by at most {away:.1e} (limit {_SAME:.0e})",
        ),
    )


def regime_rows(regimes: JointRegimes) -> list[VerdictRow]:
    """Lines of the verdict: each mode at each timeframe against the rivals that were compared."""
    rows = []
    for mode, told in regimes.verdicts.items():
        for one in told:
            few = " (too few training segments to trust)" if one.notes and one.train_segments < 100 else ""
            for rival, figure, d in one.differences:
                clear = d.low > 0 or d.high < 0
                words = f"{_word(d.low, d.high)} the {rival}{few}"
                what = f"{mode} regimes, {_WORDS[figure]} over {rival}"
                good, interval = (d.low > 0 if clear else None), f"{d.low:+.3f} to {d.high:+.3f}"
                rows.append(VerdictRow(what, one.timeframe, f"{d.value:+.3f}", interval, words, good))
    return rows


def scores_of(regimes: JointRegimes) -> tuple[RegimeScores, ...]:
    """Every figure of the test range, for the report."""
    found = []
    for mode, told in regimes.verdicts.items():
        for one in told:
            rows = []
            for row in one.rows:
                figures = {name: row.mean(name) for name in SegmentScores.__dataclass_fields__ if name != "f1"}
                rows.append((row.method, mode == _FIRST and not row.causal, figures, row.class_f1))
            sentences = [f"{_WORDS[figure]}: {_word(d.low, d.high)} the {rival} ({d.value:+.3f}, 95 % {d.low:+.3f} to {d.high:+.3f})."
                         for rival, figure, d in one.differences]  # fmt: skip
            facts = (one.timeframe, mode, one.labels, one.train_segments, one.test_segments)
            found.append(RegimeScores(*facts, tuple(rows), (*sentences, *(f"{note}." for note in one.notes))))
    return tuple(found)


def _word(low: float, high: float) -> str:
    return "clearly above" if low > 0 else "clearly below" if high < 0 else "not to be told from"


def views_of(regimes: JointRegimes, since_ms: int) -> tuple[RegimeView, ...]:
    """The regimes of the test range for the report: filtered ones, or smoothed ones where there are no others."""
    mode: Mode = _FIRST if _FIRST in regimes.fits else "smoothed"
    segmenter = regimes.fits[mode].segmenter
    readings, candles = [], []
    for base, told in zip(regimes.data.candles, regimes.told[mode], strict=True):
        for name, reading in told.items():
            first = int(np.searchsorted(reading.open_time, since_ms))
            readings.append(reading.rows(slice(first, None)))
            candles.append(candles_at(base, timeframe(name)).rows(slice(first, None)))
    kept = [(r, c) for r, c in zip(readings, candles, strict=True) if len(r)]
    if not kept:
        return ()
    tables = [segment_rows(r, segmenter.readers[r.timeframe.name].decoder) for r, _ in kept]
    return regime_views([r for r, _ in kept], [c for _, c in kept], tables)


def _states(network: FittedNetwork, series: Series) -> BaseStates:
    prepared = network.spec.prepare(series)
    logits = regime_states(network.modules, prepared, 0, len(series))  # type: ignore[arg-type]
    logits[: prepared.first] = np.nan
    return BaseStates(series.close_time, logits)


def _data(material: Material, learning_set: LearningSet) -> RegimeData:
    """The labels of the run's symbols on the run's split; timeframes finer than the base cannot be learned beside it."""
    base, symbols = material.recipe.base, material.symbols
    markets = {(one.symbol, one.timeframe) for one in learning_set.segmentations if len(one) and one.symbol in symbols}
    if not markets:
        there = ", ".join(sorted({one.symbol for one in learning_set.segmentations})) or "nothing"
        raise DataError(f"the learning set labels {there}, and the candles are of {', '.join(symbols)}: give labels of the same symbols")
    frames = sorted({frame for _, frame in markets})
    for frame in frames:
        if frame < base or (frame != base and not base.divides_into(frame)):
            raise DataError(
                f"{frame} is labelled, and its bars are not made of whole {base} bars, this run's base: set timeframes.base={frames[0]}, "
                f"leave {frame} out of the learning set, or learn the labels alone with --regimes-only"
            )
    for frame in frames[1:]:
        if not frames[0].divides_into(frame):
            raise DataError(
                f"{frame} bars are not made of whole {frames[0]} bars, the finest timeframe that is labelled: leave one of the two out"
            )
    candles = tuple(candles_at(series.base_candles, frames[0]) for series in material.series)
    segmentations: dict[str, tuple[Segmentation | None, ...]] = {
        frame.name: tuple(learning_set.consensus(s, frame) if (s, frame) in markets else None for s in symbols) for frame in frames
    }
    cuts = material.split.cuts_ms
    return RegimeData(candles, learning_set.labels, segmentations, cuts[1], cuts[2])
