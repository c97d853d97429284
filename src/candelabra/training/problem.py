"""A training problem: everything of a fit that does not depend on the seed, made from training rows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.features.scaling import ScalerSettings, fit_scaler
from candelabra.metrics.quantiles import pinball
from candelabra.models.arms import REGIMES, ArmsLayout
from candelabra.models.base import QUANTILE_LEVELS, FitData, FittedModel
from candelabra.models.inputs import InputSpec, Prepared
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.training.regime_problem import RegimeTargets
from candelabra.windows.auxiliary import AUXILIARY_SPANS, auxiliary_targets
from candelabra.windows.series import Series

__all__ = ["Problem", "earlier_problem", "prepare_problem", "with_regimes"]

_VALIDATION_WINDOWS: Final = 1500  # networks without a dense pass are validated on at most this many evenly spread rows


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything of a fit that does not depend on the seed; arrays per symbol.

    ``targets`` float32 ``(base rows, 2 x horizons + auxiliary)``: return and log volatility in the head's units, then the auxiliary
    targets, then the regimes' columns where ``regimes`` are learned too; NaN outside the training rows. ``answers``: the first two, at the
    ``validation`` rows. ``reference`` ``(horizons, levels)``, ``unit`` ``(horizons,)``: see heads; ``variance`` ``(2, horizons)``: offset
    and unit of the QLIKE loss.
    """

    spec: InputSpec
    prepared: tuple[Prepared, ...]
    targets: tuple[NDArray[np.float32], ...]
    spans: tuple[tuple[int, int], ...]
    validation: tuple[NDArray[np.int64], ...]
    answers: tuple[NDArray[np.float32], ...]
    reference: NDArray[np.float32]
    unit: NDArray[np.float32]
    variance: NDArray[np.float32]
    regimes: RegimeTargets | None = None


def prepare_problem(data: FitData, settings: ArmsSettings | Gpt2Settings, scaling: ScalerSettings, anchor: FittedModel | None) -> Problem:
    """Fit anchor, scalers and units on training rows and standardise the targets. DataError when nothing can be learned from."""
    spec = _fit_inputs(data, settings, scaling, new_model(settings.anchor).fit(data) if anchor is None else anchor)
    prepared = tuple(spec.prepare(series) for series in data.series)
    train = [rows[rows >= p.first] for p, rows in zip(prepared, data.train_rows, strict=True)]
    returns = [t.returns * np.exp(-p.anchor) for p, t in zip(prepared, data.targets, strict=True)]
    residuals = [t.log_volatility - p.anchor for p, t in zip(prepared, data.targets, strict=True)]
    z = np.concatenate([values[rows] for values, rows in zip(returns, train, strict=True)])
    residual = np.concatenate([values[rows] for values, rows in zip(residuals, train, strict=True)])
    if not (np.isfinite(residual).any(axis=0).all() and np.isfinite(z).any(axis=0).all()):
        known, end = min(p.first for p in prepared), max((int(r[-1]) for r in data.train_rows if len(r)), default=-1)
        raise DataError(
            f"no training bar has a known target with every feature warmed up (features are known from bar {known} on, training ends "
            f"at bar {end}): give more candles, features with a shorter warm-up, or a larger train share"
        )
    scale = np.maximum(np.nanstd(residual, axis=0), 1e-6).astype(np.float32)
    reference = np.nanquantile(z, QUANTILE_LEVELS, axis=0).T
    reference = np.maximum.accumulate(reference + np.arange(reference.shape[1]) * 1e-6, axis=1)
    answers = [np.concatenate([r, v / scale], axis=1).astype(np.float32) for r, v in zip(returns, residuals, strict=True)]
    anchors = np.concatenate([p.anchor[rows] for p, rows in zip(prepared, train, strict=True)])
    extra = _auxiliary(data, train)
    targets = []
    for answer, more, rows in zip(answers, extra, train, strict=True):
        learned = np.full((len(answer), answer.shape[1] + more.shape[1]), np.nan, np.float32)
        learned[rows] = np.concatenate([answer[rows], more[rows]], axis=1)
        targets.append(learned)
    validation = [
        _validation_rows(rows[rows >= p.first], spec.flat, len(prepared)) for p, rows in zip(prepared, data.validation_rows, strict=True)
    ]
    return Problem(
        spec=replace(spec, volatility_scale=scale, typical_log_volatility=np.nanmedian(anchors, axis=0)),
        prepared=prepared,
        targets=tuple(targets),
        spans=tuple((p.first, int(rows[-1]) + 1 if len(rows) else p.first) for p, rows in zip(prepared, train, strict=True)),
        validation=tuple(validation),
        answers=tuple(a[rows] for a, rows in zip(answers, validation, strict=True)),
        reference=reference.astype(np.float32),
        unit=np.array([_pinball(z[:, h], reference[h]) for h in range(z.shape[1])], np.float32),
        variance=_variance(residual),
    )


def with_regimes(problem: Problem, regimes: RegimeTargets) -> Problem:
    """The problem with regimes to be learned beside the forecast, at the rows that teach it."""
    prepared, targets = [], []
    for number, (own, values, (low, high)) in enumerate(zip(problem.prepared, problem.targets, problem.spans, strict=True)):
        prepared.append(replace(own, x={**own.x, REGIMES: regimes.tables[number]}))
        columns = np.full_like(regimes.columns[number], np.nan)
        columns[low:high] = regimes.columns[number][low:high]
        targets.append(np.concatenate([values, columns], axis=1))
    return replace(problem, prepared=tuple(prepared), targets=tuple(targets), regimes=regimes)


def earlier_problem(problem: Problem, data: FitData, share: float, length: int) -> Problem | None:
    """The problem cut off before the last ``share`` of the training range, with that as its validation; None where too little is left.

    Scalers, anchor and units stay those of the whole range: the rehearsal chooses one number, the steps, and they hardly move.
    """
    if share <= 0:
        return None
    closes = [s.close_time[low:high] for s, (low, high) in zip(data.series, problem.spans, strict=True) if high > low]
    start, end = min(int(c[0]) for c in closes), max(int(c[-1]) for c in closes)
    cut = end - share * (end - start)
    longest = max(data.targets[0].steps[-1], max(stop for _, stop in AUXILIARY_SPANS))
    columns = 2 * len(data.targets[0].steps)
    targets, spans, later = [], [], []
    for series, values, (low, high) in zip(data.series, problem.targets, problem.spans, strict=True):
        first = int(np.searchsorted(series.close_time, cut))
        stop = max(low, min(high, first) - longest)
        known = values.copy()
        known[stop:] = np.nan
        targets.append(known)
        spans.append((low, stop))
        later.append(np.arange(max(low, min(first, high)), high))
    rows = [_validation_rows(r, problem.spec.flat, len(later)) for r in later]
    if max(stop - low for low, stop in spans) < 2 * length or sum(map(len, rows)) < length:
        return None
    answers = tuple(values[r, :columns] for values, r in zip(problem.targets, rows, strict=True))
    regimes = problem.regimes
    if regimes is not None:  # what is judged is what was taken from training: all of it was known by the end of that
        ranges = tuple((int(r[0]), int(r[-1]) + 1) if len(r) else (0, 0) for r in later)
        regimes = replace(regimes, ranges=ranges)
    return replace(problem, targets=tuple(targets), spans=tuple(spans), validation=tuple(rows), answers=answers, regimes=regimes)


def _fit_inputs(data: FitData, settings: ArmsSettings | Gpt2Settings, scaling: ScalerSettings, anchor: FittedModel) -> InputSpec:
    """Scalers on training rows, and which timeframes play which role."""
    first = data.series[0]
    frames = {tf: first.candles[tf].timeframe for tf in first.features}
    coarse = tuple(sorted((tf for tf, f in frames.items() if f > first.base), key=lambda tf: frames[tf]))
    fine = {tf: first.base.milliseconds // f.milliseconds for tf, f in frames.items() if f < first.base}
    flat = isinstance(settings, Gpt2Settings)
    links: tuple[tuple[str, str], ...] = ()
    if isinstance(settings, ArmsSettings):
        links = ArmsLayout(first.base.name, coarse, tuple(fine), {}).links(settings)
    else:
        fine = {}
    scalers = {
        tf: fit_scaler(
            [series.features[tf].values for series in data.series],
            [_rows_within(series, tf, rows) for series, rows in zip(data.series, data.train_rows, strict=True)],
            first.features[tf].names,
            scaling,
        )
        for tf in (first.base.name, *coarse, *fine)
    }
    horizons = len(data.targets[0].steps)
    return InputSpec(first.base.name, coarse, fine, links, scalers, anchor, np.ones(horizons, np.float32), flat)


def _rows_within(series: Series, tf: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of a timeframe that close within the span of base rows."""
    if tf == series.base.name or not len(rows):
        return rows
    close = series.candles[tf].close_time
    first = np.searchsorted(close, series.close_time[rows[0]], "left")
    return np.arange(first, np.searchsorted(close, series.close_time[rows[-1]], "right"))


def _auxiliary(data: FitData, train: list[NDArray[np.int64]]) -> list[NDArray[np.float64]]:
    """Auxiliary targets, standardised on train; none is known later than the longest target of the last training row."""
    # in time, not in rows: across a gap as many rows reach further, and so into the validation range
    ends = [
        int(np.searchsorted(series.close_time, targets.known_at[rows[-1], -1], "right")) - 1 if len(rows) else -1
        for series, targets, rows in zip(data.series, data.targets, train, strict=True)
    ]
    raw = [auxiliary_targets(series, end) for series, end in zip(data.series, ends, strict=True)]
    seen = np.concatenate([values[rows] for values, rows in zip(raw, train, strict=True)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a span longer than the training range: all NaN, and never learned
        centre, scale = np.nanmean(seen, axis=0), np.maximum(np.nanstd(seen, axis=0), 1e-6)
    return [(values - centre) / scale for values in raw]


def _validation_rows(rows: NDArray[np.int64], windows: bool, symbols: int) -> NDArray[np.int64]:
    if not windows or not len(rows):
        return rows
    return rows[:: max(1, len(rows) * symbols // _VALIDATION_WINDOWS)]


def _pinball(actual: NDArray[np.float64], quantiles: NDArray[np.float64]) -> float:
    return float(np.nanmean(pinball(np.broadcast_to(quantiles, (len(actual), len(quantiles))), actual, QUANTILE_LEVELS)))


def _variance(residual: NDArray[np.float64]) -> NDArray[np.float32]:
    """Log of the mean ratio of realised to the anchor's variance per horizon, and the anchor's QLIKE with that constant."""
    log_ratio = 2 * residual
    offset = np.log(np.nanmean(np.exp(log_ratio), axis=0))
    return np.stack([offset, np.maximum(np.nanmean(np.expm1(log_ratio - offset) - (log_ratio - offset), axis=0), 1e-6)]).astype(np.float32)
