"""From series and targets to a fitted network: anchor, scalers, standardised targets, batches, the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features.scaling import ScalerSettings
from candelabra.models.arms import REGIMES, ArmsLayout, ArmsNetwork
from candelabra.models.base import FitData, FittedModel
from candelabra.models.gpt2 import Gpt2Layout, Gpt2Network, pretrained_blocks
from candelabra.models.network import FittedNetwork, Network, load
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.training.loop import Progress, TrainingRun, train_network
from candelabra.training.precision import choose_precision
from candelabra.training.problem import Problem, earlier_problem, prepare_problem, with_regimes
from candelabra.training.regime_problem import RegimeTargets
from candelabra.training.settings import TrainingSettings
from candelabra.training.start import adopt
from candelabra.training.task import NetworkTask
from candelabra.windows.batches import SequenceBatches, SequencePart

__all__ = ["NetworkModel", "fit_network", "load"]


@dataclass(frozen=True)
class NetworkModel:
    """`arms` or `gpt2` as a `models.base.Model`: what `new_model` makes; `fit_network` tells how the training went as well."""

    settings: ArmsSettings | Gpt2Settings
    training: TrainingSettings = field(default_factory=TrainingSettings)
    scaling: ScalerSettings = field(default_factory=lambda: ScalerSettings(fill=0.0))

    @property
    def name(self) -> str:
        """The registered name."""
        return "gpt2" if isinstance(self.settings, Gpt2Settings) else "arms"

    def fit(self, data: FitData) -> FittedNetwork:
        """Train and keep the networks alone."""
        return fit_network(data, self.settings, self.training, self.scaling)[0]


def fit_network(
    data: FitData,
    settings: ArmsSettings | Gpt2Settings,
    training: TrainingSettings,
    scaling: ScalerSettings,
    *,
    folder: Path | None = None,
    progress: Callable[[int], Progress] | None = None,
    anchor: FittedModel | None = None,
    start: FittedNetwork | None = None,
    regimes: RegimeTargets | None = None,
) -> tuple[FittedNetwork, list[TrainingRun]]:
    """Train ``training.seeds`` networks on the training rows of ``data``, stopped early on its validation rows.

    ``start``: networks whose weights are begun from (see `start`), at ``training.start_rate`` of the learning rate and without a rehearsal:
    keeping them as they are is one of the candidates. ``regimes``: labels on the base bars of ``data`` to be learned in the same network.

    Everything fitted before the weights (scalers, anchor, reference quantiles, target scales) reads training rows only.
    Raises DataError when there is too little history for a sequence, UsageError for regimes in a network that has no head for them.
    """
    if regimes is not None and not isinstance(settings, ArmsSettings):
        raise UsageError("gpt2 has no head for regimes: choose model.name = arms, or learn the labels alone with --regimes-only")
    if training.threads:
        torch.set_num_threads(training.threads)
    problem = prepare_problem(data, settings, scaling, anchor)
    if regimes is not None:
        problem = with_regimes(problem, regimes)
    length, masked = _sequence(settings, training)
    batches = _batches(problem, settings, length)
    precision = choose_precision(training.precision)
    stride = max(1, length - masked)
    rehearsed: list[float] = []
    if start is not None:
        training = replace(training, rehearsal=0.0, learning_rate=training.learning_rate * training.start_rate)
    earlier = earlier_problem(problem, data, training.rehearsal, length)
    if earlier is not None:
        torch.manual_seed(data.seed)
        task = NetworkTask(_build(earlier, settings), earlier, masked, settings, training)
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
        if start is not None:
            adopt(module, problem.spec, start, index)
        task = NetworkTask(module, problem, masked, settings, training)
        runs.append(
            train_network(
                task, batches, training, seed=seed, stride=stride, precision=precision, rehearsed=rehearsed, begun=start is not None,
                folder=folder / f"seed-{seed}" if folder else None, progress=progress(index) if progress else None,
            )
        )  # fmt: skip
        modules.append(module.to("cpu"))
    name = "gpt2" if isinstance(settings, Gpt2Settings) else "arms"
    return FittedNetwork(name, problem.spec, tuple(modules)), runs


def _sequence(settings: ArmsSettings | Gpt2Settings, training: TrainingSettings) -> tuple[int, int]:
    """Length of a training sequence and how many of its first positions have too little context to be judged."""
    if isinstance(settings, Gpt2Settings):
        return settings.context_length, settings.context_length // 2
    return training.sequence_length, min(settings.attention_width // 2, training.sequence_length // 2)


def _batches(problem: Problem, settings: ArmsSettings | Gpt2Settings, length: int) -> SequenceBatches:
    spec = problem.spec
    parts = [
        SequencePart(p.x, p.asof, targets, span) for p, targets, span in zip(problem.prepared, problem.targets, problem.spans, strict=True)
    ]
    coarse: dict[str, int] = {}
    aligned = (*spec.fine, *(() if problem.regimes is None else (REGIMES,)))
    if isinstance(settings, ArmsSettings):
        frame = Timeframe(spec.base).milliseconds
        own = 1 if settings.fusion == "concat" else settings.coarse_attention_width
        coarse = {tf: -(-length * frame // Timeframe(tf).milliseconds) + 1 + own for tf in spec.coarse}
    return SequenceBatches(parts, base=spec.base, aligned=aligned, coarse=coarse, links=spec.links, length=length)


def _build(problem: Problem, settings: ArmsSettings | Gpt2Settings) -> Network:
    spec, scale = problem.spec, problem.spec.volatility_scale
    widths = {tf: table.shape[1] for tf, table in problem.prepared[0].x.items()}
    if isinstance(settings, ArmsSettings):
        heads = {} if problem.regimes is None else problem.regimes.heads
        return ArmsNetwork(settings, ArmsLayout(spec.base, spec.coarse, tuple(spec.fine), widths, heads), problem.reference, scale)
    layout = Gpt2Layout(spec.base, widths[spec.base])
    if not settings.weights:
        return Gpt2Network(settings, layout, problem.reference, scale)
    blocks = pretrained_blocks(settings)
    network = Gpt2Network(settings, layout, problem.reference, scale, blocks.config)
    own = network.blocks.state_dict()
    network.blocks.load_state_dict({k: own[k] if k.startswith("wte") else v for k, v in blocks.state_dict().items()})
    return network
