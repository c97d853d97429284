"""`Segmenter`: regimes at several timeframes from candles: switching and logistic models, networks, a decoder a timeframe; no torch.

One segmenter has one mode and its own files. `filtered`: what is said of a bar at its close stays. `smoothed`: both sides of a bar are
read, for charts and for labelling; what it says is `Hindsight`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import timeframe
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.base_states import BaseStates
from candelabra.models.regime_encoder import Mode, RegimeEncoder, split_logits
from candelabra.models.regime_encoders import encoder_from_dict
from candelabra.models.regime_inputs import RegimeInputs, candles_at
from candelabra.models.regime_memory import base_bars, filter_memory, inputs_memory, switching_memory
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.regimes.reading import RegimeReading, read_regimes
from candelabra.windows.alignment import asof_index

__all__ = [
    "OF_FEW_NUMBERS", "BaseStates", "Segmenter", "Source", "TimeframeReader", "chances", "geometric_mean", "joint_chances",
    "network_chances", "network_logits",
]  # fmt: skip

Source = Literal["switching", "logistic", "network", "mean", "joint"]
"""Where chances come from: a switching model, a logistic regression, the regime network, the mean of the first and the third, or the
regime network and the network that forecasts.
"""
OF_FEW_NUMBERS: Final[tuple[Source, ...]] = ("switching", "logistic")
"""Sources that need no network, and can be judged on the bars they were fitted on: they have too few numbers to know them by heart."""

Floats = NDArray[np.float64]
_FORMAT: Final = 1
_FILE: Final = "regimes.json"


@dataclass(frozen=True, eq=False)
class TimeframeReader:
    """Where a timeframe's chances come from, and how they become a label."""

    source: Source
    decoder: Decoder


@dataclass(frozen=True, eq=False)
class Segmenter:
    """``inputs`` and ``networks`` (their chances are averaged) for the base timeframe; ``readers`` by timeframe name.

    ``ask``: how a network that forecasts corrects ``networks``, from a symbol's candles; not saved, since it is a part of its own.
    """

    mode: Mode
    inputs: RegimeInputs
    networks: tuple[RegimeEncoder, ...]
    readers: Mapping[str, TimeframeReader]
    ask: Callable[[Candles], BaseStates] | None = None

    @property
    def asks_states(self) -> bool:
        """Whether a timeframe is read from the states of the network that forecasts."""
        return any(reader.source == "joint" for reader in self.readers.values())

    @property
    def base(self) -> str:
        """The timeframe whose candles are needed; coarser ones are made of them."""
        return self.inputs.base.name

    @cached_property
    def needs(self) -> int:
        """Base bars until it no longer matters where the history begins, within `regime_memory.SAME`."""
        field = max((one.receptive_field for one in self.networks), default=1)
        found = [1]
        for name, reader in self.readers.items():
            ratio = base_bars(name, self.inputs.base)
            memory = field - 1 + inputs_memory(self.inputs)
            if reader.source == "switching":
                memory = switching_memory(self.inputs.switching[name]) * ratio
            if reader.source == "logistic":
                memory = (self.inputs.logistic[name].reference + max(self.inputs.logistic[name].windows)) * ratio
            found.append(memory + filter_memory(reader.decoder) * ratio)
        return max(found)

    def late(self, lag: int) -> Segmenter:
        """One that says the regime of each bar ``lag`` bars of its timeframe later, for good; UsageError for a smoothed one."""
        if self.mode == "smoothed":
            raise UsageError("smoothed regimes read to the end of the candles: a lag is for filtered ones")
        late = {name: replace(one, decoder=one.decoder.late(lag)) for name, one in self.readers.items()}
        return replace(self, readers=late)

    def regimes(self, candles: Candles, model: str = "") -> dict[str, RegimeReading]:
        """The regimes of one symbol by timeframe name, from candles of the base timeframe or finer. DataError without a closed bar.

        ``model``: id of the bundle, for the tables that are made of it.
        """
        base, told = candles_at(candles, self.inputs.base), self.chances(candles)
        found: dict[str, RegimeReading] = {}
        for name, reader in self.readers.items():
            found[name] = read_regimes(
                candles_at(base, timeframe(name)), reader.decoder, told[name], model=model, smoothed=self.mode == "smoothed"
            )
        return found

    def chances(self, candles: Candles) -> dict[str, Floats]:
        """What the decoder of each timeframe hears ``(n, K)`` at the closes of its own bars. DataError without a closed bar."""
        base = candles_at(candles, self.inputs.base)
        if not len(base):
            raise DataError(f"{candles.symbol} has no closed {self.base} bar: give more candles")
        sources, told, joint = {reader.source for reader in self.readers.values()}, {}, {}
        if sources & {"network", "mean"}:
            told = network_chances(self.networks, self.inputs, base)
        if self.asks_states:
            joint = joint_chances(self.networks, self.inputs, base, self.states(candles))
        heard: dict[str, Floats] = {}
        for name, reader in self.readers.items():
            own = candles_at(base, timeframe(name))
            said = joint.get(name) if reader.source == "joint" else told.get(name)
            heard[name] = chances(reader.source, own, base, self.inputs, said, name, len(reader.decoder.labels))
        return heard

    def states(self, candles: Candles) -> BaseStates:
        """How the network that forecasts corrects `networks`; DataError where it is not there to be asked."""
        if self.ask is None:
            raise DataError("these regimes are read with a network that forecasts: open the whole bundle, not its regimes alone")
        return self.ask(candles)

    def save(self, folder: Path) -> None:
        """Write ``regimes.json`` and a safetensors file a network."""
        folder.mkdir(parents=True, exist_ok=True)
        for k, network in enumerate(self.networks):
            save_file({name: np.ascontiguousarray(w) for name, w in network.weights.items()}, folder / f"network-{k}.safetensors")
        readers = {name: {"source": one.source, "decoder": one.decoder.to_dict()} for name, one in self.readers.items()}
        content = {
            "format": _FORMAT, "mode": self.mode, "inputs": self.inputs.to_dict(), "networks": [n.to_dict() for n in self.networks],
            "readers": readers,
        }  # fmt: skip
        (folder / _FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Segmenter:
        """What `save` wrote; BundleError when something is missing or does not fit."""
        try:
            content: dict[str, Any] = json.loads((folder / _FILE).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise BundleError(f"{folder / _FILE} has format {content['format']}, this version reads {_FORMAT}: train again")
            networks = tuple(
                encoder_from_dict(one, load_file(folder / f"network-{k}.safetensors")) for k, one in enumerate(content["networks"])
            )
            readers = {name: TimeframeReader(one["source"], Decoder.from_dict(one["decoder"])) for name, one in content["readers"].items()}
            return cls(content["mode"], RegimeInputs.from_dict(content["inputs"]), networks, readers)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise BundleError(f"{folder} cannot be read as a segmenter ({error!r}): restore it from the sealed bundle") from error


def network_chances(networks: tuple[RegimeEncoder, ...], inputs: RegimeInputs, base: Candles) -> dict[str, Floats]:
    """Mean chances of the networks at each base bar, by timeframe name."""
    table = inputs.table(base)
    told = [network.probabilities(table) for network in networks]
    return {name: np.mean([one[name] for one in told], axis=0) for name in networks[0].heads} if networks else {}


def network_logits(networks: tuple[RegimeEncoder, ...], table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean logits ``(n, R)`` of the networks on their inputs ``(n, C)``: what a network that forecasts adds to."""
    return np.stack([network.logits(table) for network in networks]).mean(axis=0, dtype=np.float64).astype(np.float32)


def joint_chances(networks: tuple[RegimeEncoder, ...], inputs: RegimeInputs, base: Candles, states: BaseStates) -> dict[str, Floats]:
    """Chances at each base bar, by timeframe name, of the networks as the one that forecasts corrects them; NaN where that is silent."""
    return split_logits(network_logits(networks, inputs.table(base)) + states.at(base.close_time), networks[0].heads)


def chances(source: Source, own: Candles, base: Candles, inputs: RegimeInputs, told: Floats | None, name: str, labels: int) -> Floats:
    """Chances ``(n, K)`` at the closes of a timeframe's own bars, as the decoder of that source expects them.

    ``told``: a network's at base bars. A bar of ``own`` that closes where no base bar does is unknown.
    """
    if source == "logistic":
        return inputs.logistic[name].probabilities(own)
    network = np.full((len(own), labels), np.nan)
    if source != "switching":
        assert told is not None
        place = asof_index(own.close_time, base.close_time)
        fits = (place >= 0) & (base.close_time[np.maximum(place, 0)] == own.close_time)
        network[fits] = told[place[fits]]
        if source in ("network", "joint"):
            return network
    model = inputs.switching[name]
    heard = model.probabilities(own)
    if source == "switching":
        return heard
    believed = Decoder(DecoderSettings("duration"), model.labels, model.durations).beliefs(heard)
    return geometric_mean(network, believed)


def geometric_mean(network: Floats, believed: Floats) -> Floats:
    """Of a network's chances and a filter's ``(n, K)``, as chances; NaN where one is unknown."""
    mean = np.exp(0.5 * (np.log(np.maximum(network, 1e-9)) + np.log(np.maximum(believed, 1e-9))))
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))
