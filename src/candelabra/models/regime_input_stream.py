"""`RegimeInputStream`: what a regime network reads, a few more bars at a time, equal to `RegimeInputs.table` of the whole history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.features.running import RunningWindows
from candelabra.models.regime_features import multi_scale
from candelabra.models.regime_inputs import RegimeInputs, finite, glances, heard_logs, unheard
from candelabra.regimes.decoding import Decoder, DecoderSettings, DecoderStream
from candelabra.windows.alignment import asof_index

__all__ = ["Heard", "RegimeInputStream"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Heard:
    """A switching model's word on the new bars of its timeframe ``(n, K)``: each bar ``alone``, and ``believed`` after its filter."""

    alone: Floats
    believed: Floats


class RegimeInputStream:
    """The inputs of one symbol between two bars; memory and cost of a bar are O(window)."""

    def __init__(self, inputs: RegimeInputs, symbol: str) -> None:
        self._inputs = inputs
        self._scales, self._glances = RunningWindows(max(inputs.spans)), RunningWindows(max(inputs.windows))
        self._models = {name: model.stream(symbol) for name, model in inputs.switching.items()}
        self._filters = {
            name: DecoderStream(Decoder(DecoderSettings("duration"), model.labels, model.durations))
            for name, model in inputs.switching.items()
        }
        self._known = {name: unheard(model)[0] for name, model in inputs.switching.items()}

    def hear(self, closed: Mapping[str, Candles]) -> dict[str, Heard]:
        """New bars of the timeframes that have a switching model; each is to be heard once, before `table` of the base bars."""
        told = {}
        for name, model in self._models.items():
            alone = model.push(closed[name])
            told[name] = Heard(alone, self._filters[name].run(alone)[1] if len(alone) else alone)
        return told

    def table(self, base: Candles, closed: Mapping[str, Candles], heard: Mapping[str, Heard]) -> NDArray[np.float32]:
        """Scaled inputs ``(n, C)`` of new base bars; ``closed``, ``heard``: the bars that closed with them, and what was heard of these."""
        parts = [multi_scale(base, self._inputs.spans, self._scales).astype(np.float64)]
        parts.append(glances(base, self._inputs.windows, past=self._glances))
        for name, one in heard.items():
            if not len(one.alone):
                parts.append(np.broadcast_to(self._known[name], (len(base), len(self._known[name]))))
                continue
            logs = heard_logs(one.alone, one.believed)
            if closed[name] is not base:
                before = np.concatenate([self._known[name][None], logs])
                parts.append(before[asof_index(base.close_time, closed[name].close_time) + 1])
            else:
                parts.append(logs)
            self._known[name] = logs[-1]
        return self._inputs.scaled(finite(np.concatenate(parts, axis=1)))

    def state(self) -> dict[str, Floats]:
        """All that the next bar needs to know, as arrays by name."""
        kept = {f"known/{name}": row.copy() for name, row in self._known.items()}
        for part, memory in self._parts().items():
            kept |= {f"{part}/{key}": value for key, value in memory.items()}
        return kept

    def resume(self, state: Mapping[str, Floats]) -> None:
        """Stand where the same inputs' `state` was taken; DataError when it is none."""
        own = {part: {key.removeprefix(f"{part}/"): v for key, v in state.items() if key.startswith(f"{part}/")} for part in self._parts()}
        self._scales.resume(own["scales"])
        self._glances.resume(own["glances"])
        for name in self._models:
            self._models[name].resume(own[f"model/{name}"])
            self._filters[name].resume(own[f"filter/{name}"])
            self._known[name] = np.array(state[f"known/{name}"])

    def _parts(self) -> dict[str, dict[str, Floats]]:
        parts = {"scales": self._scales.state(), "glances": self._glances.state()}
        for name, model in self._models.items():
            parts |= {f"model/{name}": model.state(), f"filter/{name}": self._filters[name].memory()}
        return parts
