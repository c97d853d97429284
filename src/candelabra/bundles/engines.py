"""Running what a bundle holds: ONNX Runtime for networks and trees, plain arrays for the rest; no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import BundleError
from candelabra.models import ensemble
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.models.inputs import InputSpec, Prepared
from candelabra.models.onnx_session import open_session
from candelabra.models.registry import load_fitted
from candelabra.windows.series import Series

__all__ = ["NETWORKS", "OnnxNetwork", "load_engine"]

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
