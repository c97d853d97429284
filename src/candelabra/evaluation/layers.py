"""Networks layer by layer: change positions after one, in training and in evaluation, and name the first layer whose past moves.

torch is needed only by whoever has a network to audit; the rest of the room does without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from candelabra.errors import UsageError
from candelabra.evaluation.findings import Audit, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

__all__ = ["audit_layers"]

Inputs: TypeAlias = "Mapping[str, Tensor]"
Run: TypeAlias = "Callable[[nn.Module, Inputs], Any]"
_MODES: Final = ("train", "eval")
_SIZE: Final = 3.0


@dataclass(frozen=True, eq=False)
class _Seen:
    """A layer's output: values, and the axis along which positions of one input lie."""

    layer: str
    values: Tensor
    axis: int
    clock: str


def audit_layers(
    name: str,
    module: nn.Module,
    inputs: Inputs,
    *,
    run: Run | None = None,
    known: Callable[[str, int], Mapping[str, int]] | None = None,
    modes: Sequence[str] = _MODES,
    at: Sequence[int] | None = None,
    clocks: Mapping[str, str] | None = None,
    seed: int = 0,
    rounding: float = 1e-6,
) -> Audit:
    """Layers of ``module`` whose output at a position moves when only later positions of the inputs change.

    ``inputs``: tensors ``(batch, positions, channels)`` by name (one may be called ``x``); their lengths must differ, since a layer's
    positions are recognised by their number (primes are best); ``clocks`` names inputs that share another one's positions. ``run``: how
    the module is called (default: with the only tensor, else with the mapping). ``known(input, position)``: the last position of each
    input known at one of an input's; default: the same share of its length, which holds for one input. ``at``: positions of the first
    input to look from. Random layers draw the same numbers in every run. Layers are named in the order in which they run, and only the
    first that leaks in a mode is blamed: what follows it inherits.
    UsageError when two inputs have one length.
    """
    import torch

    lengths = {n: int(t.shape[1]) for n, t in inputs.items()}
    shared = dict(clocks or {})
    own = {n: length for n, length in lengths.items() if shared.get(n, n) == n}
    if len(set(own.values())) != len(own):
        raise UsageError(f"{name}: inputs of one length ({lengths}): give each timeframe another number of positions, primes are best")
    first = next(iter(inputs))
    chosen = list(at) if at is not None else sorted({lengths[first] // 3, lengths[first] // 2, lengths[first] - 2})
    call = run or _default_run
    before_mode = {m: m.training for m in module.modules()}
    buffers = {n: b.clone() for n, b in module.named_buffers()}
    findings: list[Finding] = []
    tried: dict[str, int] = {}
    layers: set[str] = set()
    try:
        for mode in modes:
            module.train(mode == "train")
            ask = _Asker(module, call, buffers, own, seed, tried, mode)
            base = ask(inputs)
            layers |= {s.layer for s in base}
            for position in chosen:
                upto = dict(known(first, position)) if known is not None else {first: position}
                upto = {n: upto.get(shared.get(n, n), position * lengths[n] // lengths[first]) for n in inputs}
                found = _first_leak(base, ask(_changed(inputs, upto, seed + position)), upto, rounding)
                if found is not None:
                    findings.append(_measured(name, mode, found, base, ask, inputs, upto, seed + position, rounding))
                    break
    finally:
        for layer, training in before_mode.items():
            layer.training = training
        with torch.no_grad():
            for n, b in module.named_buffers():
                b.copy_(buffers[n])
    return Audit(name, tuple(findings), tried, (), len(layers), sum(lengths.values()), seed)


def _default_run(module: nn.Module, inputs: Inputs) -> Any:
    return module(next(iter(inputs.values()))) if len(inputs) == 1 else module(inputs)


@dataclass(frozen=True, eq=False)
class _Asker:
    module: nn.Module
    run: Run
    buffers: Mapping[str, Tensor]
    lengths: Mapping[str, int]
    seed: int
    tried: dict[str, int]
    mode: str

    def __call__(self, inputs: Inputs) -> list[_Seen]:
        """The outputs of every layer, in order of running."""
        import torch

        key = f"layers, {self.mode}"
        self.tried[key] = self.tried.get(key, 0) + 1
        torch.manual_seed(self.seed)
        with torch.no_grad(), _hooked(self.module, self.lengths) as seen:
            for n, b in self.module.named_buffers():  # running statistics must not remember the run before
                b.copy_(self.buffers[n])
            self.run(self.module, inputs)
        return seen


@contextmanager
def _hooked(module: nn.Module, lengths: Mapping[str, int]) -> Iterator[list[_Seen]]:
    import torch

    seen: list[_Seen] = []
    clocks = {length: name for name, length in lengths.items()}

    def note(layer: str) -> Callable[..., None]:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            outputs = output if isinstance(output, (tuple, list)) else (output,)
            outputs = tuple(output.values()) if isinstance(output, dict) else outputs
            for part in outputs:
                if isinstance(part, torch.Tensor) and part.is_floating_point():
                    axis = next((k for k in range(1, part.dim()) if part.shape[k] in clocks), None)
                    if axis is not None:
                        seen.append(_Seen(layer, part.detach().clone(), axis, clocks[part.shape[axis]]))

        return hook

    handles = [m.register_forward_hook(note(n or "the output")) for n, m in module.named_modules()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _changed(inputs: Inputs, upto: Mapping[str, int], seed: int) -> dict[str, Tensor]:
    import torch

    made = {}
    for k, (name, tensor) in enumerate(inputs.items()):
        generator = torch.Generator().manual_seed(seed + k)
        noise = torch.randn(tensor.shape, generator=generator).to(tensor)
        made[name] = tensor.clone()
        made[name][:, upto[name] + 1 :] += _SIZE * noise[:, upto[name] + 1 :]
    return made


def _leaks(a: _Seen, b: _Seen, upto: int, rounding: float) -> bool:
    if a.values.shape != b.values.shape:
        return True
    past_a, past_b = (s.values.narrow(s.axis, 0, upto + 1) for s in (a, b))
    off = (past_a - past_b).abs()
    return bool((off > rounding * max(1.0, float(past_a.abs().max()))).any())


def _first_leak(before: list[_Seen], after: list[_Seen], upto: Mapping[str, int], rounding: float) -> _Seen | None:
    if len(before) != len(after):
        raise UsageError("a network ran other layers when only later inputs changed: its path depends on its data and cannot be audited")
    return next((a for a, b in zip(before, after, strict=True) if _leaks(a, b, upto[a.clock], rounding)), None)


def _measured(
    name: str, mode: str, found: _Seen, base: list[_Seen], ask: _Asker, inputs: Inputs, upto: Mapping[str, int], seed: int, rounding: float
) -> Finding:
    """How many positions of its own clock a layer reads ahead, from the first of its positions that moved."""
    place = next(k for k, s in enumerate(base) if s is found)
    own = upto[found.clock]
    moved = ask(_changed(inputs, upto, seed))[place]
    off = (moved.values - found.values).abs().narrow(found.axis, 0, own + 1).transpose(0, found.axis).flatten(1).amax(1)
    first = int(np.argmax((off > rounding).numpy()))
    low, high = own, inputs[found.clock].shape[1] - 1
    while high - low > 1:
        middle = (low + high) // 2
        later = ask(_changed(inputs, {**dict.fromkeys(inputs, 10**9), found.clock: middle}, seed))[place]
        apart = (later.values - found.values).abs().select(found.axis, first).max()
        low, high = (middle, high) if bool(apart > rounding) else (low, middle)
    detail = f"in {'training' if mode == 'train' else 'evaluation'} mode"
    unit = "position" if found.clock == "x" else found.clock
    end = low + 1 == inputs[found.clock].shape[1] - 1
    return Finding(name, "layer", found.layer, low + 1 - first, unit, None, end, mode, detail)
