"""`SegmenterStream`: a filtered segmenter that follows one symbol, candle by candle, at a cost that does not grow with history.

Every part between two candles is carried on as the whole history would carry it: windows, switching models, networks, decoders, and
the coarse bars that are still forming. What it says of a bar equals `Segmenter.regimes` of all candles so far: inputs, switching models
and decoders to the bit, networks within rounding (a product of one row is added up in another order than that of many).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.forming import Forming
from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.disk import write_atomically
from candelabra.errors import DataError, UsageError
from candelabra.features.running import RunningWindows
from candelabra.models.base_states import BaseStates
from candelabra.models.regime_encoders import encoder_stream
from candelabra.models.regime_input_stream import Heard, RegimeInputStream
from candelabra.models.segmenter import OF_FEW_NUMBERS, Segmenter, TimeframeReader, geometric_mean
from candelabra.regimes.regions import RegimeChange
from candelabra.regimes.segmentation import UNLABELLED
from candelabra.regimes.statechart import RegimeChart
from candelabra.windows.alignment import asof_index

__all__ = ["RegimeBar", "SegmenterStream"]

Floats = NDArray[np.float64]
States = NDArray[np.float32] | BaseStates
_FORM: Final = 1
_HEADER: Final = "header"


@dataclass(frozen=True, eq=False)
class RegimeBar:
    """What is said of one bar at its close (ms UTC), and stays.

    ``label``: the regime shown, None where nothing is known; ``age``: how many bars it has lasted, this one included (0: none);
    ``chances`` ``(K,)`` of ``labels`` before the decoder, ``probabilities`` after its filter, NaN where unknown. ``candidate``: the label
    that has led ``leading`` bars in a row instead and may take over (None: none), so that the regime shown is ``confirmed`` where there is
    none.
    """

    timeframe: str
    open_ms: int
    close_ms: int
    label: str | None
    age: int
    labels: tuple[str, ...]
    chances: Floats
    probabilities: Floats
    candidate: str | None
    leading: int

    @property
    def confirmed(self) -> bool:
        """Whether no other label is on its way to be shown."""
        return self.label is not None and self.candidate is None


class _Reader:
    """One timeframe between two of its bars: the decoder and the age of what it shows."""

    def __init__(self, name: str, reader: TimeframeReader) -> None:
        self.name, self.source, self.labels = name, reader.source, reader.decoder.labels
        self.decoder = reader.decoder.stream()
        self.held = reader.decoder.settings.kind != "raw"
        self.past: RunningWindows | None = None
        self.code, self.age = UNLABELLED, 0

    def read(self, own: Candles, chances: Floats) -> list[RegimeBar]:
        """The next bars, one at a time, for each with the decoder's state behind it."""
        found = []
        for k in range(len(own)):
            codes, said = self.decoder.run(chances[k : k + 1])
            self._count(codes)
            shown, state = self.code != UNLABELLED, self.decoder.state
            waits = self.held and state.count > 0
            found.append(
                RegimeBar(
                    self.name, int(own.open_time[k]), int(own.close_time[k]), self.labels[self.code] if shown else None, self.age,
                    self.labels, chances[k], said[0], self.labels[state.candidate] if waits else None, state.count if waits else 0,
                )
            )  # fmt: skip
        return found

    def skip(self, chances: Floats) -> None:
        """The same for a history, of which nothing is told."""
        self._count(self.decoder.run(chances)[0])

    def _count(self, codes: NDArray[np.int16]) -> None:
        if not len(codes):
            return
        last = int(codes[-1])
        other = np.flatnonzero(codes != last)
        since = len(codes) - 1 - int(other[-1]) if len(other) else len(codes) + (self.age if last == self.code else 0)
        self.code, self.age = last, since if last != UNLABELLED else 0


class SegmenterStream:
    """One symbol, followed: candles in as they close, a `RegimeBar` out for every bar that closed with them; for one thread.

    ``history``: candles so far, of the base timeframe or finer; those pushed later are of the same timeframe. ``states`` ``(n, R)``: how a
    network that forecasts corrects the logits at each base bar, where the segmenter `asks_states` (`NetworkSteps.regimes`); or
    `BaseStates`, of which those at the closes of base bars are taken.
    """

    def __init__(self, segmenter: Segmenter, history: Candles | None = None, states: States | None = None) -> None:
        """UsageError for a segmenter that reads later bars."""
        if segmenter.mode != "filtered":
            raise UsageError("smoothed regimes read later bars: only a filtered segmenter can follow a market")
        self._segmenter = segmenter
        self._readers = {name: _Reader(name, reader) for name, reader in segmenter.readers.items()}
        self._asks = any(reader.source not in OF_FEW_NUMBERS for reader in segmenter.readers.values())
        self._symbol: str | None = None
        self._listeners: list[Callable[[RegimeChange], object]] = []
        self._chart: RegimeChart | None = None
        self._newest: dict[str, RegimeBar] = {}
        if history is not None and len(history):
            self._advance(history, states, tell=False)

    @property
    def symbol(self) -> str | None:
        """Whose candles were pushed; None before the first."""
        return self._symbol

    @property
    def newest(self) -> dict[str, RegimeBar]:
        """The newest bar pushed of each timeframe that has had one since this stream was opened."""
        return dict(self._newest)

    def push(self, candles: Candles, states: States | None = None) -> list[RegimeBar]:
        """Candles that have closed since: the bars that closed with them, in order of time, at one time the shortest first.

        A coarse bar whose last candle never came is told with the candle after it. DataError unless candles come after those before, of
        one symbol and timeframe.
        """
        told = self._advance(candles, states, tell=True) if len(candles) else []
        self._newest |= {one.timeframe: one for one in told}
        return told

    def on_change(self, callback: Callable[[RegimeChange], object]) -> Callable[[], None]:
        """Call ``callback`` with every change of a regime from now on, through a `RegimeChart`; gives a function that ends it.

        UsageError where no decoder holds its regimes by hysteresis.
        """
        if self._chart is None:
            held = {name: reader for name, reader in self._segmenter.readers.items() if self._readers[name].held}
            if not held:
                raise UsageError("no timeframe of this segmenter is held by hysteresis: look at the bars that push() gives")
            begin = {name: self._readers[name].decoder.state for name in held}
            rules = {name: reader.decoder.settings.rule for name, reader in held.items()}
            self._chart = RegimeChart(rules, {name: reader.decoder.labels for name, reader in held.items()}, begin)
        return self._chart.on_change(callback)

    def save(self, path: str | Path) -> None:
        """Write where the stream stands (npz, no pickle), for `resume` after a restart; subscribers are not kept."""
        header = {"form": _FORM, "segmenter": _fingerprint(self._segmenter), "symbol": self._symbol}
        arrays: dict[str, NDArray[Any]] = {}
        if self._symbol is not None:
            header["forming"] = {frame: _described(one) for frame, one in self._forming.items()}
            for frame, one in self._forming.items():
                held = one.held
                if held is not None:
                    columns: tuple[NDArray[Any], ...] = (held.open_time, *held.values(), held.missing)
                    arrays |= {f"forming/{frame}/{k}": column for k, column in enumerate(columns)}
            arrays |= {f"inputs/{key}": value for key, value in self._inputs.state().items()}
            for number, network in enumerate(self._networks):
                arrays |= {f"network/{number}/{key}": value for key, value in network.state().items()}
            for name, reader in self._readers.items():
                arrays |= {f"reader/{name}/{key}": value for key, value in reader.decoder.memory().items()}
                arrays[f"shown/{name}"] = np.array([reader.code, reader.age])
                if reader.past is not None:
                    arrays |= {f"logistic/{name}/{key}": value for key, value in reader.past.state().items()}
        arrays[_HEADER] = np.frombuffer(json.dumps(header).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        write_atomically(Path(path), buffer.getvalue())

    @classmethod
    def resume(cls, segmenter: Segmenter, path: str | Path) -> SegmenterStream:
        """Go on where a stream of the same segmenter was saved; DataError when it was another's, or is damaged."""
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
                arrays = {key: file[key] for key in file.files}
            header: dict[str, Any] = json.loads(arrays.pop(_HEADER).tobytes())
            if header["form"] != _FORM:
                raise DataError(f"{path} has form {header['form']}, this version reads {_FORM}: begin anew from the history")
            if header["segmenter"] != _fingerprint(segmenter):
                raise DataError(f"{path} was saved by a stream of another segmenter: open that one, or begin anew from the history")
            made = cls(segmenter)
            if header["symbol"] is not None:
                made._stand(header, arrays)
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error}): give what SegmenterStream.save wrote") from error
        except (KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
            raise DataError(f"{path} is no saved stream of regimes ({error!r}): begin anew from the history") from error
        return made

    def _open(self, symbol: str, given: Timeframe) -> None:
        """Parts for a symbol, from nothing."""
        inputs = self._segmenter.inputs
        if given != inputs.base and not given.divides_into(inputs.base):
            raise UsageError(f"{symbol}: {inputs.base} bars are not made of whole {given} bars: push {inputs.base} candles, or finer ones")
        self._symbol = symbol
        names = [name for name in dict.fromkeys([*inputs.switching, *self._readers]) if timeframe(name) != inputs.base]
        self._forming = {name: Forming(timeframe(name)) for name in [inputs.base.name, *names]}
        self._inputs = RegimeInputStream(inputs, symbol)
        for name, reader in self._readers.items():
            reader.past = inputs.logistic[name].past() if reader.source == "logistic" else None
        self._networks = [encoder_stream(network) for network in self._segmenter.networks] if self._asks else []

    def _advance(self, candles: Candles, states: States | None, *, tell: bool) -> list[RegimeBar]:
        if self._symbol is None:
            self._open(candles.symbol, candles.timeframe)
        if candles.symbol != self._symbol:
            raise DataError(f"a stream of {self._symbol} was given {candles.symbol}: open one for each symbol")
        base_name = self._segmenter.base
        base = self._forming[base_name].push(candles)
        closed = {name: base if name == base_name else self._forming[name].push(base) for name in self._forming}
        heard = self._inputs.hear(closed)
        told, joint = self._network_chances(base, closed, heard, states) if len(base) and self._asks else ({}, {})
        bars = []
        for name, reader in self._readers.items():
            own = closed[name]
            if not len(own):
                continue
            said = joint.get(name) if reader.source == "joint" else told.get(name)
            if reader.past is not None:
                said = self._segmenter.inputs.logistic[name].probabilities(own, reader.past)
            p = _chances(reader, own, base, heard.get(name), said)
            if tell:
                bars += reader.read(own, p)
            else:
                reader.skip(p)
        bars.sort(key=lambda bar: (bar.close_ms, bar.close_ms - bar.open_ms))
        self._announce(bars)
        return bars

    def _network_chances(
        self, base: Candles, closed: Mapping[str, Candles], heard: Mapping[str, Heard], states: States | None
    ) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """Mean chances of the networks at new base bars, by timeframe name, and those as the network that forecasts corrects them."""
        heads = self._segmenter.networks[0].heads if self._networks else {}
        table = self._inputs.table(base, closed, heard)  # once: it remembers
        told = [network.push(table) for network in self._networks]
        joint: dict[str, Floats] = {}
        if self._segmenter.asks_states:
            states = states.at(base.close_time) if isinstance(states, BaseStates) else states
            width, at = sum(map(len, heads.values())) + len(heads), 0
            if states is None or states.shape != (len(base), width):
                got = "none" if states is None else f"an array of shape {states.shape}"
                bars = f"{len(base)} {base.timeframe} bars"
                raise DataError(f"{bars} need states ({len(base)}, {width}) of the network that forecasts: got {got}")
            for name, labels in heads.items():
                logits = np.mean([np.log(np.maximum(one[name], 1e-300)) for one in told], axis=0) + states[:, at : at + len(labels)]
                chances = np.exp(logits - logits.max(axis=1, keepdims=True))
                joint[name], at = chances / chances.sum(axis=1, keepdims=True), at + len(labels)
        if len(told) < 2:
            return told[0] if told else {}, joint
        return {name: np.mean([one[name] for one in told], axis=0) for name in told[0]}, joint

    def _announce(self, bars: list[RegimeBar]) -> None:
        """Send the bars to the chart, those that closed together as one event."""
        if self._chart is None:
            return
        for close in sorted({bar.close_ms for bar in bars}):
            own = {bar.timeframe: bar.probabilities for bar in bars if bar.close_ms == close and self._readers[bar.timeframe].held}
            if own:
                self._chart.send_bar(close, own)

    def _stand(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take what `save` wrote."""
        forming = header["forming"]
        self._open(header["symbol"], timeframe(forming[self._segmenter.base]["timeframe"]))
        for frame, one in self._forming.items():
            facts = forming[frame]
            if facts is None:
                continue
            times, *values, missing = (arrays[f"forming/{frame}/{k}"] for k in range(7))
            one.held = Candles.sealed(
                header["symbol"], timeframe(facts["timeframe"]), times, values, missing, timeframe(facts["source"]),
                (int(facts["span"][0]), int(facts["span"][1])), bool(facts["simulated"]),
            )  # fmt: skip
        self._inputs.resume(_under("inputs", arrays))
        for number, network in enumerate(self._networks):
            network.resume(_under(f"network/{number}", arrays))
        for name, reader in self._readers.items():
            reader.decoder.resume(_under(f"reader/{name}", arrays))
            reader.code, reader.age = (int(v) for v in arrays[f"shown/{name}"])
            if reader.past is not None:
                reader.past.resume(_under(f"logistic/{name}", arrays))


def _chances(reader: _Reader, own: Candles, base: Candles, heard: Heard | None, told: Floats | None) -> Floats:
    """Chances ``(n, K)`` of new bars, as `segmenter.chances` has them."""
    if reader.source == "switching":
        assert heard is not None
        return heard.alone
    if reader.source == "logistic":
        assert told is not None
        return told
    network = np.full((len(own), len(reader.labels)), np.nan)
    if told is not None:
        place = asof_index(own.close_time, base.close_time)
        fits = (place >= 0) & (base.close_time[np.maximum(place, 0)] == own.close_time)
        network[fits] = told[place[fits]]
    if reader.source in ("network", "joint"):
        return network
    assert heard is not None
    return geometric_mean(network, heard.believed)


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{prefix}/"): value for key, value in arrays.items() if key.startswith(f"{prefix}/")}


def _described(one: Forming) -> dict[str, Any] | None:
    held = one.held
    if held is None:
        return None
    return {"timeframe": held.timeframe.name, "source": held.source.name, "span": list(held.span), "simulated": held.simulated}


def _fingerprint(segmenter: Segmenter) -> str:
    """sha256 of all that decides what a segmenter says."""
    readers = {name: {"source": one.source, "decoder": one.decoder.to_dict()} for name, one in segmenter.readers.items()}
    content = {"inputs": segmenter.inputs.to_dict(), "networks": [n.to_dict() for n in segmenter.networks], "readers": readers}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for network in segmenter.networks:
        for name in sorted(network.weights):
            digest.update(np.ascontiguousarray(network.weights[name]).tobytes())
    return digest.hexdigest()
