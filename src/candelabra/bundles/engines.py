"""Running what a bundle holds: ONNX Runtime for networks and trees, plain arrays for the rest; no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError
from candelabra.models import ensemble
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.models.base_states import BaseStates
from candelabra.models.inputs import REGIME_BARS, InputSpec, Prepared
from candelabra.models.onnx_session import open_session
from candelabra.models.registry import load_fitted
from candelabra.windows.series import Series

__all__ = ["NETWORKS", "OnnxNetwork", "load_engine", "networks_of"]

NETWORKS: Final = ("arms", "gpt2")


@dataclass(frozen=True, eq=False)
class OnnxNetwork:
    """The full graphs of a network: one window of every timeframe in, the newest bar's forecast out.

    Each forecast is computed by itself from exactly its window, so it has the same bits whatever else is asked.
    """

    name: str
    spec: InputSpec
    windows: dict[str, int]
    sessions: tuple[Any, ...]
    folder: Path

    @property
    def responds(self) -> bool:
        """The newest candle can move the newest forecast."""
        return True

    @property
    def warm_up(self) -> int:
        """Base bars that the anchor remembers."""
        return int(getattr(self.spec.anchor, "warm_up", 0))

    def predict(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """Forecasts at base rows; NaN where a full window is not there yet."""
        prepared = self.spec.prepare(series)
        ready = np.flatnonzero((rows >= prepared.first) & (rows + 1 >= self.windows[self.spec.base]))
        shapes = [output.shape[1:] for output in self.sessions[0].get_outputs()]
        quantiles = np.full((len(rows), *shapes[0]), np.nan, np.float32)
        volatility = np.full((len(rows), *shapes[1]), np.nan, np.float32)
        for place in ready:
            feed = self._windows(prepared, rows[place : place + 1])
            answers = [session.run(None, feed) for session in self.sessions]
            quantiles[place] = np.stack([q[0] for q, _ in answers]).mean(axis=0, dtype=np.float64)
            volatility[place] = np.stack([v[0] for _, v in answers]).mean(axis=0, dtype=np.float64)
        return self.spec.finish(quantiles, volatility, prepared.anchor[rows])

    @property
    def tells_regimes(self) -> bool:
        """Whether regimes were learned in the same network."""
        return (self.folder / "regimes-0.onnx").is_file()

    def regime_states(self, series: Series) -> BaseStates:
        """How the networks correct an anchor's logits of regimes at every base bar, their mean; NaN before every input is known.

        Bars are told in pieces that begin at fixed times, so that a bar has the same bits whatever comes after it.
        """
        prepared, bar = self.spec.prepare(series), series.base_candles.bar
        sessions = [open_session(p, f"the regimes {p}") for p in sorted(self.folder.glob("regimes-*.onnx"))]
        if not sessions:
            raise BundleError(f"{self.folder} learned no regimes: restore the sealed bundle")
        lengths = {i.name.partition(":")[2]: i.shape[1] for i in sessions[0].get_inputs() if i.name.startswith("x:")}
        logits = np.full((len(series), sessions[0].get_outputs()[0].shape[-1]), np.nan, np.float32)
        piece = bar // REGIME_BARS
        for first in np.flatnonzero(np.diff(piece, prepend=piece[:1] - 1)):
            stop = int(np.searchsorted(piece, piece[first], "right"))
            if stop <= prepared.first:
                continue
            feed = self._piece(prepared, int(first), stop, lengths)
            told = np.stack([session.run(None, feed)[0][0] for session in sessions]).mean(axis=0, dtype=np.float64)
            logits[first:stop] = told[: stop - first]
        logits[: prepared.first] = np.nan
        return BaseStates(series.close_time, logits)

    def _piece(self, prepared: Prepared, first: int, stop: int, lengths: Mapping[str, int]) -> dict[str, NDArray[Any]]:
        """Windows of a piece: its bars from a fixed place on, what they read before it; rows after ``stop`` are empty."""
        spec, base = self.spec, self.spec.base
        start = first - (lengths[base] - REGIME_BARS)
        at = {base: np.arange(start, start + lengths[base])}
        feed: dict[str, NDArray[Any]] = {f"x:{tf}": _rows(prepared.x[tf], at[base], stop) for tf in (base, *spec.fine)}
        newest, ends = {base: first}, {base: stop}
        span = REGIME_BARS * Timeframe(base).milliseconds
        for tf in () if spec.flat else spec.coarse:
            finer = next(f for f, c in spec.links if c == tf)
            known = prepared.asof[f"{finer}>{tf}"]
            # what is known at the first bar has a fixed place too, and behind it room for all that can close in a piece
            newest[tf] = int(known[newest[finer]]) if newest[finer] >= 0 else -1
            at[tf] = np.arange(lengths[tf]) + newest[tf] + 1 - lengths[tf] + -(-span // Timeframe(tf).milliseconds)
            ends[tf] = int(known[ends[finer] - 1]) + 1 if ends[finer] > 0 else 0
            feed[f"x:{tf}"] = _rows(prepared.x[tf], at[tf], ends[tf])
        for finer, coarser in spec.links:
            rows = at[finer]
            inside = (rows >= 0) & (rows < ends[finer])
            known = np.where(inside, prepared.asof[f"{finer}>{coarser}"][np.clip(rows, 0, max(ends[finer] - 1, 0))], -1).astype(np.int64)
            local = known - at[coarser][0]
            feed[f"asof:{finer}>{coarser}"] = np.where((known >= 0) & (local >= 0), local, -1)[None]
        return feed

    def save(self, folder: Path) -> None:
        """A part that was opened is already sealed; it is copied as it is."""
        import shutil

        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    def _windows(self, prepared: Prepared, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        spec, base = self.spec, self.spec.base
        feed: dict[str, NDArray[Any]] = {}
        index = rows[:, None] + np.arange(1 - self.windows[base], 1)
        for tf in (base, *spec.fine):
            feed[f"x:{tf}"] = prepared.x[tf][index]
        at = {base: index}
        for tf in () if spec.flat else spec.coarse:
            # windows of coarser arms end at the bar known at the row; a chain of arms is walked through their own links
            last = self._last_known(prepared, tf, rows)
            at[tf] = last[:, None] + np.arange(1 - self.windows[tf], 1)
            feed[f"x:{tf}"] = np.where(at[tf][..., None] >= 0, prepared.x[tf][np.maximum(at[tf], 0)], np.float32(0))
        for finer, coarser in spec.links:
            inside = at[finer] >= 0
            known = np.where(inside, prepared.asof[f"{finer}>{coarser}"][np.maximum(at[finer], 0)], -1).astype(np.int64)
            local = known - at[coarser][:, :1]
            feed[f"asof:{finer}>{coarser}"] = np.where((known >= 0) & (local >= 0), local, -1)
        return feed

    def _last_known(self, prepared: Prepared, tf: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        finer = next(f for f, c in self.spec.links if c == tf)
        start = rows if finer == self.spec.base else self._last_known(prepared, finer, rows)
        known = prepared.asof[f"{finer}>{tf}"][np.maximum(start, 0)].astype(np.int64)
        return np.where(start >= 0, known, -1)


def _rows(table: NDArray[np.float32], at: NDArray[np.int64], stop: int) -> NDArray[np.float32]:
    """Rows ``at`` of a table as a window ``(1, rows, channels)``; zeros before its beginning and from ``stop`` on."""
    there = (at >= 0) & (at < stop)
    return np.where(there[:, None], table[np.where(there, at, 0)], np.float32(0))[None]


def networks_of(model: FittedModel) -> list[OnnxNetwork]:
    """Every network of a model, members of an ensemble included."""
    if isinstance(model, OnnxNetwork):
        return [model]
    return [found for member in getattr(model, "members", {}).values() for found in networks_of(member)]


def load_engine(folder: Path) -> FittedModel:
    """The model in a part's folder, ready to forecast without torch. BundleError when something is missing or damaged."""
    try:
        values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        kind = values["model"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / 'model.json'} does not say what is here ({error!r}): restore the sealed bundle") from error
    if kind == "ensemble":
        return ensemble.load(folder, load_engine)
    if kind not in NETWORKS:
        return load_fitted(folder)
    graphs = sorted(folder.glob("graph-*.onnx"))
    if len(graphs) != values["networks"]:
        raise BundleError(f"{folder} has {len(graphs)} graphs for {values['networks']} networks: restore the sealed bundle")
    spec = InputSpec.from_dict(values["inputs"], load_fitted(folder / "anchor"))
    sessions = tuple(open_session(graph, f"the network {graph}") for graph in graphs)
    return OnnxNetwork(kind, spec, dict(values["windows"]), sessions, folder)
