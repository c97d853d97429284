"""How weights are found (torch-free)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from candelabra.errors import UsageError

__all__ = ["TrainingSettings"]


@dataclass(frozen=True)
class TrainingSettings:
    """The training loop: AdamW, warm-up then cosine, clipping, weight averaging, early stopping on validation.

    ``sequence_length``: base bars of a training sequence; ``steps``: the most optimizer steps; ``patience``: evaluations without a better
    validation loss before stopping; ``averaging``: decay of the exponential moving average that is validated and kept.
    ``rehearsal``: share of the training range, at its end, foretold by a network trained on what came before; the steps kept are those of
    least mean loss there and on validation, which alone is too short to tell (0: validation alone). ``precision``: ``auto``
    probes whether bf16 pays on this machine; ``compile``: ``on`` runs the network through torch.compile. ``threads`` 0: all cores.
    ``start_from``: a bundle whose weights are begun from instead of random ones, at ``start_rate`` of the learning rate (it must have
    learned from candles before this run's validation range). ``seeds``: how many networks are trained (their outputs are averaged). What
    a probe decided is written into the run's config.
    """

    sequence_length: int = 384
    batch_size: int = 8
    steps: int = 160
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    warmup_steps: int = 20
    gradient_clip: float = 1.0
    averaging: float = 0.97
    evaluate_every: int = 10
    patience: int = 8
    rehearsal: float = 0.3
    seeds: int = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: Literal["off", "on"] = "off"
    threads: int = 0
    tensorboard: bool = False
    start_from: str = ""
    start_rate: float = 0.1

    def __post_init__(self) -> None:
        for name in ("sequence_length", "batch_size", "steps", "evaluate_every", "patience", "seeds"):
            if getattr(self, name) < 1:
                raise UsageError(f"training.{name} = {getattr(self, name)}: it must be at least 1")
        for name in ("warmup_steps", "weight_decay", "threads"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"training.{name} = {getattr(self, name)}: it must be at least 0")
        for name in ("learning_rate", "gradient_clip", "start_rate"):  # a clip of 0 would stop every step
            if not getattr(self, name) > 0:
                raise UsageError(f"training.{name} = {getattr(self, name)}: it must be above 0")
        if not 0 <= self.rehearsal <= 0.8:
            raise UsageError(f"training.rehearsal = {self.rehearsal}: a share of the training range between 0 and 0.8 is needed")
        if not 0 <= self.averaging < 1:
            raise UsageError(f"training.averaging = {self.averaging}: a decay in [0, 1) is needed")
