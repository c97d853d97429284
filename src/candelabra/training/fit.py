"""From series and targets to a fitted network: anchor, scalers, standardised targets, batches, the loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError
from candelabra.features.scaling import ScalerSettings, fit_scaler
from candelabra.metrics.quantiles import pinball
from candelabra.models.arms import ArmsLayout, ArmsNetwork
from candelabra.models.base import QUANTILE_LEVELS, FitData, FittedModel
from candelabra.models.gpt2 import Gpt2Layout, Gpt2Network, pretrained_blocks
from candelabra.models.heads import forecast_loss, qlike_loss
from candelabra.models.inputs import InputSpec, Prepared
from candelabra.models.network import FittedNetwork, Network, outputs_at
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.training.loop import Progress, TrainingRun, train_network
from candelabra.training.precision import choose_precision
from candelabra.training.settings import TrainingSettings
from candelabra.windows.auxiliary import AUXILIARY_SPANS, auxiliary_targets
from candelabra.windows.batches import Batch, SequenceBatches, SequencePart
from candelabra.windows.series import Series

__all__ = ["NetworkModel", "fit_network"]

_VALIDATION_WINDOWS = 1500  # networks without a dense pass are validated on at most this many evenly spread rows


@dataclass(frozen=True)
class NetworkModel:
    """A network as a `models.base.Model`; ``folder`` keeps checkpoints, ``runs`` receives how each training went."""

    settings: ArmsSettings | Gpt2Settings
    training: TrainingSettings = field(default_factory=TrainingSettings)
    scaling: ScalerSettings = field(default_factory=lambda: ScalerSettings(fill=0.0))
    folder: Path | None = None
    progress: Callable[[int], Progress] | None = None
    runs: list[TrainingRun] = field(default_factory=list)
    anchor: FittedModel | None = None

    name: ClassVar[str] = "network"

    def fit(self, data: FitData) -> FittedNetwork:
        """Train; see `fit_network`."""
        fitted, runs = fit_network(
            data, self.settings, self.training, self.scaling, folder=self.folder, progress=self.progress, anchor=self.anchor
        )
        self.runs.extend(runs)
        return fitted


@dataclass(frozen=True, eq=False)
class _Problem:
    """Everything of a fit that does not depend on the seed; arrays per symbol.

    ``targets`` float32 ``(base rows, 2 x horizons + auxiliary)``: return and log volatility in the head's units, then the auxiliary
    targets; NaN outside the training rows. ``answers``: the first two, at the ``validation`` rows. ``reference`` ``(horizons, levels)``,
    ``unit`` ``(horizons,)``: see heads; ``variance`` ``(2, horizons)``: offset and unit of the QLIKE loss.
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


def fit_network(
    data: FitData,
    settings: ArmsSettings | Gpt2Settings,
    training: TrainingSettings,
    scaling: ScalerSettings,
    *,
    folder: Path | None = None,
    progress: Callable[[int], Progress] | None = None,
    anchor: FittedModel | None = None,
) -> tuple[FittedNetwork, list[TrainingRun]]:
    """Train ``training.seeds`` networks on the training rows of ``data``, stopped early on its validation rows.

    Everything fitted before the weights (scalers, anchor, reference quantiles, target scales) reads training rows only.
    Raises DataError when there is too little history for a sequence.
    """
    if training.threads:
        torch.set_num_threads(training.threads)
    problem = _prepare(data, settings, scaling, anchor)
    length, masked = _sequence(settings, training)
    batches = _batches(problem, settings, length)
    precision = choose_precision(training.precision)
    stride = max(1, length - masked)
    rehearsed: list[float] = []
    earlier = _earlier(problem, data, training.rehearsal, length)
    if earlier is not None:
        torch.manual_seed(data.seed)
        task = _Task(_build(earlier, settings), earlier, masked, settings)
        run = train_network(
            task, _batches(earlier, settings, length), training, seed=data.seed, stride=stride, precision=precision,
            folder=folder / "rehearsal" if folder else None, progress=progress(-1) if progress else None,
        )  # fmt: skip
        rehearsed = [row["validation_loss"] for row in run.history]
    modules: list[Network] = []
    runs = []
    for index in range(training.seeds):
        seed = data.seed + index
        torch.manual_seed(seed)
        module = _build(problem, settings)
        task = _Task(module, problem, masked, settings)
        runs.append(
            train_network(
                task, batches, training, seed=seed, stride=stride, precision=precision, rehearsed=rehearsed,
                folder=folder / f"seed-{seed}" if folder else None, progress=progress(index) if progress else None,
            )
        )  # fmt: skip
        modules.append(module)
    name = "gpt2" if isinstance(settings, Gpt2Settings) else "arms"
    return FittedNetwork(name, problem.spec, tuple(modules)), runs


def _sequence(settings: ArmsSettings | Gpt2Settings, training: TrainingSettings) -> tuple[int, int]:
    """Length of a training sequence and how many of its first positions have too little context to be judged."""
    if isinstance(settings, Gpt2Settings):
        return settings.context_length, settings.context_length // 2
    return training.sequence_length, min(settings.attention_width // 2, training.sequence_length // 2)


def _prepare(data: FitData, settings: ArmsSettings | Gpt2Settings, scaling: ScalerSettings, anchor: FittedModel | None) -> _Problem:
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
    extra = _auxiliary(data, train)
    targets = []
    for answer, more, rows in zip(answers, extra, train, strict=True):
        learned = np.full((len(answer), answer.shape[1] + more.shape[1]), np.nan, np.float32)
        learned[rows] = np.concatenate([answer[rows], more[rows]], axis=1)
        targets.append(learned)
    validation = [
        _validation_rows(rows[rows >= p.first], spec.flat, len(prepared)) for p, rows in zip(prepared, data.validation_rows, strict=True)
    ]
    return _Problem(
        spec=replace(spec, volatility_scale=scale),
        prepared=prepared,
        targets=tuple(targets),
        spans=tuple((p.first, int(rows[-1]) + 1 if len(rows) else p.first) for p, rows in zip(prepared, train, strict=True)),
        validation=tuple(validation),
        answers=tuple(a[rows] for a, rows in zip(answers, validation, strict=True)),
        reference=reference.astype(np.float32),
        unit=np.array([_pinball(z[:, h], reference[h]) for h in range(z.shape[1])], np.float32),
        variance=_variance(residual),
    )


def _earlier(problem: _Problem, data: FitData, share: float, length: int) -> _Problem | None:
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
    return replace(problem, targets=tuple(targets), spans=tuple(spans), validation=tuple(rows), answers=answers)


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
    longest = data.targets[0].steps[-1]
    ends = [int(rows[-1]) + longest if len(rows) else -1 for rows in train]
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


def _batches(problem: _Problem, settings: ArmsSettings | Gpt2Settings, length: int) -> SequenceBatches:
    spec = problem.spec
    parts = [
        SequencePart(p.x, p.asof, targets, span) for p, targets, span in zip(problem.prepared, problem.targets, problem.spans, strict=True)
    ]
    coarse: dict[str, int] = {}
    if isinstance(settings, ArmsSettings):
        frame = Timeframe(spec.base).milliseconds
        own = 1 if settings.fusion == "concat" else settings.coarse_attention_width
        coarse = {tf: -(-length * frame // Timeframe(tf).milliseconds) + 1 + own for tf in spec.coarse}
    return SequenceBatches(parts, base=spec.base, aligned=tuple(spec.fine), coarse=coarse, links=spec.links, length=length)


def _build(problem: _Problem, settings: ArmsSettings | Gpt2Settings) -> Network:
    spec, scale = problem.spec, problem.spec.volatility_scale
    widths = {tf: table.shape[1] for tf, table in problem.prepared[0].x.items()}
    if isinstance(settings, ArmsSettings):
        return ArmsNetwork(settings, ArmsLayout(spec.base, spec.coarse, tuple(spec.fine), widths), problem.reference, scale)
    layout = Gpt2Layout(spec.base, widths[spec.base])
    if not settings.weights:
        return Gpt2Network(settings, layout, problem.reference, scale)
    blocks = pretrained_blocks(settings)
    network = Gpt2Network(settings, layout, problem.reference, scale, blocks.config)
    own = network.blocks.state_dict()
    network.blocks.load_state_dict({k: own[k] if k.startswith("wte") else v for k, v in blocks.state_dict().items()})
    return network


class _Task:
    """The loss of `arms` and `gpt2`: quantiles and volatility, and in training the auxiliary ranges."""

    def __init__(self, module: Network, problem: _Problem, masked: int, settings: ArmsSettings | Gpt2Settings) -> None:
        self.module: nn.Module = module
        self._network = module
        self._problem, self._masked, self._settings = problem, masked, settings
        self._levels, self._unit = torch.tensor(QUANTILE_LEVELS), torch.from_numpy(problem.unit)
        self._twice_scale = torch.from_numpy(2 * problem.spec.volatility_scale)
        self._offset, self._qlike_unit = torch.from_numpy(problem.variance).unbind()

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses of a batch of sequences, the first positions left out: their context is too short."""
        hidden = self._network.hidden(batch.x, batch.asof)[:, self._masked :]
        targets = batch.targets[:, self._masked :]
        quantiles, volatility = self._network.head(hidden)
        horizons = volatility.shape[-1]
        total, parts = self._judge(quantiles, volatility, targets[..., : 2 * horizons])
        weight = self._settings.auxiliary_weight
        if weight > 0:
            error = self._network.auxiliary(hidden).float() - torch.nan_to_num(targets[..., 2 * horizons :])
            known = torch.isfinite(targets[..., 2 * horizons :])
            total = total + weight * (error * error * known).sum() / known.sum().clamp(min=1)
        return total, parts

    def validate(self) -> tuple[float, list[float]]:
        """The loss at the validation rows of all symbols together."""
        found = [outputs_at(self._network, p, rows) for p, rows in zip(self._problem.prepared, self._problem.validation, strict=True)]
        quantiles = torch.from_numpy(np.concatenate([q for q, _ in found]))
        volatility = torch.from_numpy(np.concatenate([v for _, v in found]))
        total, parts = self._judge(quantiles, volatility, torch.from_numpy(np.concatenate(self._problem.answers)))
        return float(total), parts.tolist()

    def _judge(self, quantiles: Tensor, volatility: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        horizons = volatility.shape[-1]
        returns, realised = answers[..., :horizons], answers[..., horizons:]
        settings = self._settings
        total, parts = forecast_loss(quantiles, volatility, returns, realised, self._levels, self._unit, settings.volatility_weight)
        if settings.qlike_weight > 0:
            total = total + settings.qlike_weight * qlike_loss(volatility, realised, self._twice_scale, self._offset, self._qlike_unit)
        return total, parts
