"""A network's cached step on ONNX Runtime: bars pushed as they close, each at a cost that does not grow with history; no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import BundleError, UsageError
from candelabra.models.onnx_session import open_session

__all__ = ["NetworkSteps", "can_step"]

Floats = NDArray[np.float32]
_AHEAD: Final = 512  # positions whose angles are worked out at once


class _Arm:
    """A step graph, bound once to the arrays it reads and writes: a step moves no memory but the new bar's own."""

    def __init__(self, graph: Path) -> None:
        self._session = open_session(graph, f"the step {graph}")
        shapes = {i.name: tuple(i.shape) for i in self._session.get_inputs()}
        try:
            depth = sum(name.startswith("keys:") for name in shapes)
            heads, self.rows, size = shapes["keys:0"]
            self.ring = np.zeros((depth, 2, heads, self.rows, size), np.float32)
            self.inputs = {name: np.zeros(shape, np.float32) for name, shape in shapes.items() if name[:5] not in ("keys:", "value")}
            self.inputs["empty"][:] = -np.inf
            rings = {f"{w}:{k}": self.ring[k, i] for k in range(depth) for i, w in enumerate(("keys", "values"))}
            self.outputs = {o.name: np.zeros(tuple(o.shape), np.float32) for o in self._session.get_outputs()}
            self._kept = self.outputs["kept"].reshape(depth, 2, heads, size)
        except (KeyError, ValueError, TypeError) as error:
            raise BundleError(f"{graph} is not a step graph ({error!r}): restore it from the sealed bundle") from error
        self._binding = self._session.io_binding()
        for name, array in (self.inputs | rings).items():
            self._binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for name, array in self.outputs.items():
            self._binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        self.size, self.bars = size, 0

    def step(self) -> Mapping[str, Floats]:
        """Run the graph on what is in ``inputs`` and remember the bar. The outputs are overwritten by the next step."""
        ahead = self.bars % _AHEAD
        if not ahead:
            self._cos, self._sin = _angles(np.arange(self.bars, self.bars + _AHEAD), self.size)
        self.inputs["cos"][:, 0, 0], self.inputs["sin"][:, 0, 0] = self._cos[ahead], self._sin[ahead]
        self._session.run_with_iobinding(self._binding)
        slot = self.bars % self.rows
        self.ring[:, :, :, slot] = self._kept
        self.inputs["empty"][slot] = 0
        self.bars += 1
        return self.outputs


def _angles(positions: NDArray[np.int64], size: int) -> tuple[Floats, Floats]:
    """Rotary cosines and sines ``(positions, 3, size)`` for query, key and value (not turned), as in `models.layers.rotary`."""
    frequency = 10_000.0 ** (-np.arange(0, size, 2, dtype=np.float64) / size)
    angle = positions.astype(np.float64)[:, None] * frequency
    cos, sin = np.cos(angle), np.sin(angle)
    table = np.stack([np.concatenate([cos, cos], -1), np.concatenate([-sin, sin], -1)])
    still = np.stack([np.ones_like(table[0]), np.zeros_like(table[0])])
    turns = np.stack([table * size**-0.5, table, still], 2).astype(np.float32)
    return turns[0], turns[1]


def can_step(folder: Path) -> bool:
    """Whether a network's folder has step graphs (bundles sealed before there were any, and networks of whole windows, have none)."""
    return (folder / "step-0.onnx").is_file()


class NetworkSteps:
    """One trained network, fed bar by bar: what its full graph gives, within law 3, once it has seen the receptive field.

    At each close, push the bars that closed then from the coarsest timeframe to the base; pushing the base bar gives the forecast.
    Rows are scaled features ``(channels,)`` float32, as `InputSpec.prepare` makes them.
    """

    def __init__(self, folder: Path, index: int, coarse: tuple[str, ...]) -> None:
        self._coarse = coarse
        self._base = _Arm(folder / f"step-{index}.onnx")
        graphs = {tf: folder / f"step-{index}-{tf}.onnx" for tf in coarse}
        self._arms = {tf: _Arm(graph) for tf, graph in graphs.items() if graph.is_file()}
        for tf in coarse:
            if tf not in self._arms and f"x:{tf}" not in self._base.inputs:  # rows of coarse bars may go to the base step as they are
                raise BundleError(f"{folder} has no step graph of the {tf} arm: restore the sealed bundle")

    @property
    def bars(self) -> int:
        """Base bars seen so far."""
        return self._base.bars

    @property
    def regimes(self) -> Floats:
        """How the newest base bar corrects an anchor's logits of regimes ``(R,)``; UsageError where none were learned."""
        if "regimes" not in self._base.outputs:
            raise UsageError("this network learned no regimes: train with --labels")
        newest: Floats = self._base.outputs["regimes"][0].copy()
        return newest

    def push_coarse(self, timeframe: str, row: Floats) -> None:
        """A bar of a coarser timeframe has closed."""
        if timeframe not in self._coarse:
            raise UsageError(f"this network has no {timeframe} arm: its coarse timeframes are {', '.join(self._coarse) or 'none'}")
        said: Floats = row
        arm = self._arms.get(timeframe)
        if arm is not None:
            arm.inputs[f"x:{timeframe}"][0] = row
            said = arm.step()["say"]
        for reader in self._readers(timeframe):
            reader[:] = said

    def push(self, row: Floats, patches: Mapping[str, Floats] | None = None) -> tuple[Floats, Floats]:
        """A base bar has closed: quantiles ``(horizons, levels)`` and volatility ``(horizons,)`` in the head's units."""
        base = self._base
        base.inputs[next(iter(base.inputs))][0] = row
        for tf, values in (patches or {}).items():
            base.inputs[f"x:{tf}"][0] = values
        out = base.step()
        return out["quantiles"][0].copy(), out["volatility"][0].copy()

    def _readers(self, timeframe: str) -> Iterator[Floats]:
        """Inputs that hold what an arm said: the base step's, or in a hierarchy the next finer arm's."""
        for name in (f"say:{timeframe}", f"x:{timeframe}"):
            if name in self._base.inputs:
                yield self._base.inputs[name]
        place = self._coarse.index(timeframe)
        finer = self._arms.get(self._coarse[place - 1]) if place else None
        if finer is not None and "above" in finer.inputs:
            yield finer.inputs["above"]
