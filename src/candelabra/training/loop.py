"""The training loop: small, explicit, resumable to the bit."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from candelabra.disk import write_atomically
from candelabra.errors import DataError, MissingExtraError
from candelabra.training.checkpoint import load_checkpoint, save_checkpoint
from candelabra.training.settings import TrainingSettings
from candelabra.windows.batches import Batch, SequenceBatches

__all__ = ["Progress", "Task", "TrainingRun", "learning_rate_at", "train_network"]


class Task(Protocol):
    """What the loop needs of a model: its module, the loss of a batch and the loss on validation."""

    module: nn.Module
    device: torch.device

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Total loss (with gradient) and its parts (without)."""
        ...

    def validate(self) -> tuple[float, list[float]]:
        """Total and parts of the validation loss with the module's present weights, in float32."""
        ...


Progress = Callable[[int, int, float, float], None]
"""Called after each evaluation: step, most steps, training loss, validation loss."""


@dataclass(frozen=True)
class TrainingRun:
    """How a training went: one row per evaluation, the best step and why it stopped."""

    history: list[dict[str, Any]]
    best_step: int
    best_loss: float
    steps: int
    reason: str
    cpu_seconds: float
    precision: str


@dataclass
class _State:
    step: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    cpu_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


def learning_rate_at(step: int, settings: TrainingSettings) -> float:
    """Linear warm-up, then half a cosine down to a tenth.

    >>> s = TrainingSettings(steps=100, warmup_steps=10, learning_rate=1.0)
    >>> [round(learning_rate_at(k, s), 3) for k in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.55, 0.1]
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * (0.55 + 0.45 * math.cos(math.pi * min(1.0, done)))


def train_network(
    task: Task,
    batches: SequenceBatches,
    settings: TrainingSettings,
    *,
    seed: int,
    stride: int,
    precision: str,
    rehearsed: Sequence[float] = (),
    begun: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> TrainingRun:
    """Train ``task.module`` and leave it with the averaged weights of the best validation loss.

    ``rehearsed``: losses of another training at the same evaluations; where given, the best step is that of the least mean of both, and
    steps that were not rehearsed do not count. ``begun``: the weights were learned elsewhere, so that keeping them as they are, step 0, is
    judged as well.

    With a ``folder``, a checkpoint is written at every evaluation and a training that was interrupted goes on from it, to
    the same bits as if it had not been (same machine, same thread count). ``precision`` is ``float32`` or ``bfloat16`` (autocast).
    """
    module = task.module
    optimizer = _optimizer(module, settings)
    average = {name: p.detach().clone() for name, p in module.named_parameters()}
    best = {name: p.clone() for name, p in average.items()}
    state = _State()
    path = folder / "checkpoint.safetensors" if folder else None
    if path is not None and path.exists():
        _restore(path, module, optimizer, average, best, state)
    else:
        torch.manual_seed(seed)
        if begun:
            state.best_loss, parts = _validate_average(task, average)
            row = {"step": 0, "train_loss": None, "validation_loss": state.best_loss, "parts": parts, "learning_rate": 0.0}
            state.history.append({**row, "cpu_seconds": 0.0})
    stream = _stream(batches, settings, seed, stride, state.step)
    cast: AbstractContextManager[Any] = torch.autocast(task.device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
    board = _board(folder / "tensorboard") if folder and settings.tensorboard else None
    started, losses = time.process_time(), []
    while state.step < settings.steps and not _exhausted(state, settings):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(state.step, settings)
        module.train()
        with cast:
            loss, _ = task.loss(next(stream))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
        optimizer.step()
        state.step += 1
        losses.append(float(loss.detach()))
        decay = min(settings.averaging, (1 + state.step) / (10 + state.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), [p.detach() for p in module.parameters()], 1 - decay)
        if state.step % settings.evaluate_every and state.step < settings.steps:
            continue
        total, parts = _validate_average(task, average)
        state.cpu_seconds += time.process_time() - started
        started = time.process_time()
        state.history.append(
            {"step": state.step, "train_loss": float(np.mean(losses)), "validation_loss": total, "parts": parts,
             "learning_rate": learning_rate_at(state.step - 1, settings), "cpu_seconds": round(state.cpu_seconds, 2)}
        )  # fmt: skip
        losses = []
        judged = _with_rehearsal(total, rehearsed, len(state.history) - 1)
        if judged < state.best_loss:
            state.best_loss, state.best_step = judged, state.step
            best = {name: p.clone() for name, p in average.items()}
        if folder is not None and path is not None:
            _save(path, module, optimizer, average, best, state)
            write_atomically(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in state.history).encode())
        if board is not None:
            board.add_scalars("loss", {"train": state.history[-1]["train_loss"], "validation": total}, state.step)
            board.flush()
        if progress is not None:
            progress(state.step, settings.steps, state.history[-1]["train_loss"], total)
    reason = f"no better validation loss for {settings.patience} evaluations" if _exhausted(state, settings) else "all steps done"
    _load(module, best)
    module.eval()
    return TrainingRun(state.history, state.best_step, state.best_loss, state.step, reason, state.cpu_seconds, precision)


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("tensorboard", "tensorboard", "training.tensorboard = true") from error
    return SummaryWriter(str(folder))


def _with_rehearsal(loss: float, rehearsed: Sequence[float], evaluation: int) -> float:
    if not rehearsed:
        return loss
    return (loss + rehearsed[evaluation]) / 2 if evaluation < len(rehearsed) else math.inf


def _exhausted(state: _State, settings: TrainingSettings) -> bool:
    return state.step - state.best_step >= settings.patience * settings.evaluate_every


def _optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    decayed = [p for p in module.parameters() if p.dim() > 1]
    others = [p for p in module.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99), foreach=True)


def _stream(batches: SequenceBatches, settings: TrainingSettings, seed: int, stride: int, done: int) -> Iterator[Batch]:
    """Batches of pass after pass, each shuffled by its own generator, so that any step can be found again."""
    epoch = 0
    while True:
        order = batches.starts(stride, np.random.default_rng((seed, epoch)))
        count = -(-len(order) // settings.batch_size)
        if done >= count:
            done -= count
        else:
            yield from batches.batches(order[done * settings.batch_size :], settings.batch_size)
            done = 0
        epoch += 1


def _validate_average(task: Task, average: dict[str, Tensor]) -> tuple[float, list[float]]:
    now = {name: p.detach().clone() for name, p in task.module.named_parameters()}
    _load(task.module, average)
    task.module.eval()
    try:
        return task.validate()
    finally:
        _load(task.module, now)


def _load(module: nn.Module, weights: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(weights[name])


def _save(
    path: Path, module: nn.Module, optimizer: torch.optim.AdamW, average: dict[str, Tensor], best: dict[str, Tensor], state: _State
) -> None:
    tensors: dict[str, Tensor] = {f"weights.{n}": p for n, p in module.named_parameters()}
    tensors |= {f"average.{n}": p for n, p in average.items()} | {f"best.{n}": p for n, p in best.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
    tensors["random"] = torch.get_rng_state()
    save_checkpoint(path, tensors, state.__dict__)


def _restore(
    path: Path, module: nn.Module, optimizer: torch.optim.AdamW, average: dict[str, Tensor], best: dict[str, Tensor], state: _State
) -> None:
    tensors, saved = load_checkpoint(path)
    now = {name: p.shape for name, p in module.named_parameters()}
    then = {name.removeprefix("weights."): t.shape for name, t in tensors.items() if name.startswith("weights.")}
    if now != then:
        changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
        raise DataError(
            f"the checkpoint {path} is of another network ({len(changed)} weights differ, the first is {changed[0]}: "
            f"{tuple(then.get(changed[0], ()))} there, {tuple(now.get(changed[0], ()))} here): resume with the settings it was begun with, "
            "or delete it to begin again"
        )
    _load(module, {n: tensors[f"weights.{n}"] for n, _ in module.named_parameters()})
    for name in average:
        average[name].copy_(tensors[f"average.{name}"])
        best[name].copy_(tensors[f"best.{name}"])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors["random"])
    state.__dict__.update(saved)
