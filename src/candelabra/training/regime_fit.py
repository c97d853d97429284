"""From candles and labels at several timeframes to fitted regime networks: batches and the loop, once the problem is prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from candelabra.candles.frame import Candles
from candelabra.models.regime_encoder import EncoderSettings, Mode, RegimeEncoder
from candelabra.models.regime_inputs import RegimeInputs
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.segmenter import network_logits
from candelabra.models.switching import SwitchingSettings
from candelabra.regimes.durations import DurationModel
from candelabra.training.loop import Progress, TrainingRun, train_network
from candelabra.training.regime_network import RegimeTask, new_network
from candelabra.training.regime_problem import RegimeData, RegimeProblem, RegimeTargets, prepare_regimes, regime_targets
from candelabra.training.regime_settings import regime_training
from candelabra.training.settings import TrainingSettings
from candelabra.windows.batches import SequenceBatches, SequencePart

__all__ = ["RegimeData", "RegimeFit", "fit_regime_network", "regime_training"]


@dataclass(frozen=True, eq=False)
class RegimeFit:
    """A fitted network with what it reads; ``durations`` by timeframe name, in bars of that timeframe; how the trainings went."""

    inputs: RegimeInputs
    networks: tuple[RegimeEncoder, ...]
    durations: Mapping[str, DurationModel]
    runs: tuple[TrainingRun, ...]

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Labels of each timeframe."""
        return self.networks[0].heads

    def corrections(self, data: RegimeData, candles: Sequence[Candles]) -> RegimeTargets:
        """What a network that forecasts on the bars of ``candles`` may learn of ``data``: to correct the logits of these networks."""
        given = [network_logits(self.networks, self.inputs.table(c)) for c in data.candles]
        return regime_targets(data, RegimeProblem(self.heads, self.inputs, self.durations), given, candles)


def fit_regime_network(
    data: RegimeData,
    settings: EncoderSettings | None = None,
    training: TrainingSettings | None = None,
    *,
    mode: Mode = "filtered",
    seed: int = 0,
    switching: SwitchingSettings | None = None,
    folder: Path | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> RegimeFit:
    """Train ``training.seeds`` networks of one head a timeframe, jointly; DataError where a timeframe has fewer than two labels.

    ``settings`` of a convolution (the default's) or of a transformer: they say which network it is.
    """
    chosen, loop = settings or TcnSettings(), training or regime_training()
    torch.set_num_threads(loop.threads or 1)
    problem = prepare_regimes(data, switching, mode)
    targets = regime_targets(data, problem, [problem.inputs.table(c) for c in data.candles])
    parts = [
        SequencePart({data.base.name: table}, {}, columns, (0, end))
        for table, columns, (end, _) in zip(targets.tables, targets.columns, targets.ranges, strict=True)
    ]
    length = min(loop.sequence_length, max(end for _, end in (p.rows for p in parts)))
    batches = SequenceBatches(parts, base=data.base.name, aligned=(), coarse={}, links=(), length=length)
    masked = min(chosen.receptive_field // 2, length // 4)
    networks, runs_ = [], []
    for index in range(loop.seeds):
        torch.manual_seed(seed + index)
        network = new_network(targets.tables[0].shape[1], chosen, problem.heads, mode)
        task = RegimeTask(network, targets, masked)
        runs_.append(
            train_network(
                task, batches, loop, seed=seed + index, stride=max(1, length - 2 * masked), precision="float32",
                folder=folder / f"seed-{seed + index}" if folder else None, progress=progress(index) if progress else None,
            )
        )  # fmt: skip
        networks.append(network.frozen())
    return RegimeFit(problem.inputs, tuple(networks), problem.durations, tuple(runs_))
