"""Mutations of regimes: a sound segmenter, decoder, statechart or stream with one mistake in it, which an audit must catch and place.

`REGIME_MUTANTS` is the list. Each says which law it breaks, in which layer, and by how many bars where the mistake has a length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.forming import Forming
from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight
from candelabra.evaluation.findings import Audit, Finding, Law
from candelabra.evaluation.refit import audit_fit
from candelabra.evaluation.regime_audits import audit_apart, audit_candle_by_candle, audit_decoder, audit_segmenter, audit_statechart
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.worlds import Market
from candelabra.models.regime_inputs import RegimeInputs, fit_regime_inputs
from candelabra.models.regime_tcn import RegimeTcn, TcnSettings
from candelabra.models.regime_transformer import RegimeTransformerSettings
from candelabra.models.segmenter import Segmenter
from candelabra.models.segmenter_stream import SegmenterStream
from candelabra.models.switching import SwitchingModel
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.regimes.hysteresis import HysteresisSettings
from candelabra.regimes.reading import RegimeReading
from candelabra.regimes.regions import RegimeChange
from candelabra.regimes.statechart import RegimeChart
from candelabra.testing.decoders import example_probabilities
from candelabra.testing.segmenters import example_regime_market, example_segmenter

__all__ = ["REGIME_MUTANTS", "RegimeMutant"]

Floats = NDArray[np.float64]
T = TypeVar("T")
_HOUR: Final = 3_600_000
_EFFORT: Final = Effort(moments=2, early=1, positions=2, sizes=(0.05, -0.3), steps=1, measured=3, told=8)


@dataclass(frozen=True)
class RegimeMutant:
    """A mistake, what finds it, and what is to be found: the law, the beginning of a column's name, and the distance where there is one.

    ``at_least``: the distance is a lower bound.
    """

    name: str
    law: Law
    column: str
    bars: int | None
    audited: Callable[[], Audit]
    at_least: bool = False

    def missed(self, found: Audit) -> str:
        """What is wrong with the findings, in words; empty where the mistake is caught and placed."""
        told = [f for f in found.findings if f.law == self.law and f.column.startswith(self.column)]
        if not told:
            return f"{self.name}: no {self.law} finding of {self.column!r} among {[f.words for f in found.findings] or 'nothing'}"
        if self.bars is not None and not any(self._fits(f) for f in told):
            return f"{self.name}: {self.bars} bars are to be said, and {[f.words for f in told]} were"
        return ""

    def _fits(self, finding: Finding) -> bool:
        assert self.bars is not None
        return finding.bars == self.bars or (self.at_least and (finding.bars or 0) >= self.bars)


class _Ahead(Decoder):
    """Smooths over the bar at hand and the next one."""

    def _beliefs(self, p: Floats) -> Floats:
        return super()._beliefs((p + np.concatenate([p[1:], p[-1:]])) / 2)


class _Late(Decoder):
    """Shows what was believed a bar ago."""

    def _beliefs(self, p: Floats) -> Floats:
        believed = super()._beliefs(p)
        return np.concatenate([np.full((1, believed.shape[1]), np.nan), believed[:-1]])


class _Tidied(Decoder):
    """Takes back stretches of fewer than twelve bars, once the next begins."""

    def decode(self, probabilities: ArrayLike) -> NDArray[np.int16]:
        code = super().decode(probabilities).copy()
        first = np.flatnonzero(np.diff(code)) + 1
        for a, b in pairwise(first.tolist()):
            if b - a < 12:
                code[a:b] = code[a - 1]
        return code


class _StandardisedOnAll(RegimeInputs):
    """Scales by the mean and deviation of whatever it is given."""

    def table(self, candles: Candles) -> NDArray[np.float32]:
        raw = super().table(candles).astype(np.float64)
        scaled: NDArray[np.float32] = ((raw - raw.mean(0)) / np.maximum(raw.std(0), 1e-3)).astype(np.float32)
        return scaled


class _AtOpenTime(RegimeInputs):
    """Joins the 4h bars on their open times."""

    def table(self, candles: Candles) -> NDArray[np.float32]:
        table = super().table(candles).copy()
        own = np.array([k for k, name in enumerate(self.names) if name.startswith("4h ")])
        closes = candles.timeframe.floor(candles.open_time) // (4 * _HOUR) * (4 * _HOUR) + 4 * _HOUR
        rows = np.minimum(np.searchsorted(candles.close_time, closes), len(candles) - 1)
        table[:, own] = table[rows[:, None], own]
        return table


class _StaleNetwork(RegimeTcn):
    """Says of a bar what it should have said of the one before."""

    def probabilities(self, x: NDArray[np.float32]) -> dict[str, Floats]:
        return {name: np.concatenate([p[:1], p[:-1]]) for name, p in super().probabilities(x).items()}


class _ScaledOnAll(SwitchingModel):
    """Takes the standard deviation of all returns it is given for the usual one."""

    def probabilities(self, candles: Candles) -> Floats:
        size = float(np.std(np.diff(np.log(candles.close))))
        return _remade(SwitchingModel, self, scales={candles.symbol: size}).probabilities(candles)


class _Retroactive(RegimeChart):
    """Tells of a change as of the bar at which it began to show."""

    def send_bar(self, time_ms: int, probabilities: Mapping[str, ArrayLike | None]) -> tuple[RegimeChange, ...]:
        made = super().send_bar(time_ms, probabilities)
        back = {tf: (self.settings[tf].confirm - 1) * (4 if tf == "4h" else 1) * _HOUR for tf in self.timeframes}
        return tuple(replace(change, time_ms=change.time_ms - back[change.timeframe]) for change in made)


class _Impatient(RegimeChart):
    """Confirms a bar too soon."""

    def __init__(self, settings: Mapping[str, HysteresisSettings], labels: Mapping[str, Sequence[str]]) -> None:
        super().__init__({tf: replace(one, confirm=max(1, one.confirm - 1)) for tf, one in settings.items()}, labels)


class _LateForming(Forming):
    """Gives a bar when the next candle comes."""

    def __init__(self, of: Forming) -> None:
        super().__init__(of.frame)
        self.held = of.held
        self._waiting: Candles | None = None

    def push(self, fine: Candles) -> Candles:
        closed = super().push(fine)
        told, self._waiting = self._waiting, closed
        return closed.rows(slice(0, 0)) if told is None else told


def _remade(kind: type[T], of: Any, **changes: Any) -> T:
    """The same values as another class."""
    return kind(**{f.name: getattr(of, f.name) for f in fields(of)} | changes)


@cache
def _sound() -> Segmenter:
    rules = {"1h": ("mean", DecoderSettings("markov", enter=0.3, confirm=3)), "4h": ("network", DecoderSettings("hysteresis", enter=0.3))}
    small = TcnSettings(width=8, layers=3)
    return example_segmenter(rules, network=small, networks=1, spans=(1, 5, 30), windows=(6, 24))  # type: ignore[arg-type]


@cache
def _attentive() -> Segmenter:
    """The same with a transformer."""
    small = RegimeTransformerSettings(width=8, layers=2, heads=2, attention_width=6, reach_growth=3)
    rules = {"1h": ("network", DecoderSettings("hysteresis", enter=0.3))}
    return example_segmenter(rules, network=small, networks=1, spans=(1, 5, 30), windows=(6, 24))  # type: ignore[arg-type]


def _both_sides() -> Audit:
    """A band that reads as far ahead as it reads back."""
    sound = _attentive().networks[0]
    wide = {name: np.concatenate([w[:, :0:-1], w], axis=1) for name, w in sound.weights.items() if name.endswith("distance")}
    mutant = replace(sound, mode="smoothed", weights={**sound.weights, **wide})
    return _audited(replace(_attentive(), networks=(mutant,)))


@cache
def _candles() -> Candles:
    return example_regime_market().candles.rows(slice(0, 500))


def _audited(segmenter: Segmenter, regimes: Callable[[Candles], Mapping[str, RegimeReading]] | None = None) -> Audit:
    return audit_segmenter(segmenter, _candles(), effort=_EFFORT, regimes=regimes)


def _with_decoder(kind: type[Decoder], tf: str = "1h") -> Audit:
    sound = _sound()
    readers = {name: replace(one, decoder=_remade(kind, one.decoder)) if name == tf else one for name, one in sound.readers.items()}
    return _audited(replace(sound, readers=readers))


def _with_inputs(kind: type[RegimeInputs]) -> Audit:
    return _audited(replace(_sound(), inputs=_remade(kind, _sound().inputs)))


def _with_switching() -> Audit:
    inputs = _sound().inputs
    models = {tf: _remade(_ScaledOnAll, model) if tf == "1h" else model for tf, model in inputs.switching.items()}
    return _audited(replace(_sound(), inputs=replace(inputs, switching=models)))


def _read_at_open() -> Audit:
    sound = _sound()

    def regimes(candles: Candles) -> dict[str, RegimeReading]:
        told = sound.regimes(candles)
        early = told["4h"]
        return told | {"4h": replace(early, open_time=early.open_time - 4 * _HOUR, close_time=early.close_time - 4 * _HOUR)}

    return _audited(sound, regimes)


def _best_path() -> Audit:
    sound = _sound()
    path = {tf: replace(one, decoder=replace(one.decoder, settings=DecoderSettings("viterbi"))) for tf, one in sound.readers.items()}
    return _audited(replace(sound, readers=path))


def _chart(kind: type[RegimeChart]) -> Audit:
    rules = {"1h": HysteresisSettings(0.3, 3), "4h": HysteresisSettings(0.3, 2)}
    told = {
        tf: ((np.arange(n) + 1) * step * _HOUR, example_probabilities(n, 3, seed=step)) for tf, n, step in (("1h", 240, 1), ("4h", 60, 4))
    }
    return audit_statechart(rules, dict.fromkeys(rules, ("a", "b", "c")), told, make=kind, bars=80)


def _forgetful(segmenter: Segmenter, history: Candles) -> SegmenterStream:
    return SegmenterStream(segmenter, history.rows(slice(-20, None)))


def _slow(segmenter: Segmenter, history: Candles) -> SegmenterStream:
    stream = SegmenterStream(segmenter, history)
    stream._forming["4h"] = _LateForming(stream._forming["4h"])
    return stream


def _stale_network_stream(segmenter: Segmenter, history: Candles) -> SegmenterStream:
    """Pushes the network's inputs a bar late."""
    stream = SegmenterStream(segmenter, history)
    (network,), waiting = stream._networks, [stream._segmenter.inputs.table(history)[-1:]]

    class Late:
        def push(self, x: NDArray[np.float32]) -> dict[str, Floats]:
            waiting.append(x)
            return network.push(waiting.pop(0))

    stream._networks = [Late()]  # type: ignore[list-item]
    return stream


def _oblivious(segmenter: Segmenter, history: Candles) -> SegmenterStream:
    """A network whose attention begins anew behind the history."""
    stream = SegmenterStream(segmenter, history)
    (network,) = stream._networks
    network.resume({**network.state(), "bars": np.zeros(1)})
    return stream


def _streamed(make: Callable[[Segmenter, Candles], SegmenterStream], segmenter: Segmenter | None = None) -> Audit:
    return audit_candle_by_candle(segmenter or _sound(), _candles(), make=make)


def _apart(linked: bool) -> Audit:
    smoothed = example_segmenter({"1h": ("network", DecoderSettings("viterbi"))}, mode="smoothed", networks=1, seed=4)
    with TemporaryDirectory() as name:
        one, two = Path(name) / "regimes-filtered", Path(name) / "regimes-smoothed"
        _sound().save(one)
        smoothed.save(two)
        (one / "network-0.safetensors").unlink()
        if linked:
            (one / "network-0.safetensors").hardlink_to(two / "network-0.safetensors")
        else:
            (one / "network-0.safetensors").write_bytes((two / "network-0.safetensors").read_bytes())
        return audit_apart(one, two, smoothed, _candles())


def _untyped() -> Audit:
    """A smoothed segmenter that says it is filtered."""
    smoothed = example_segmenter({"1h": ("network", DecoderSettings("markov"))}, mode="smoothed", networks=1)
    with TemporaryDirectory() as name:
        one, two = Path(name) / "a", Path(name) / "b"
        _sound().save(one)
        smoothed.save(two)
        assert all(isinstance(reading, Hindsight) for reading in smoothed.regimes(_candles()).values())
        return audit_apart(one, two, replace(smoothed, mode="filtered"), _candles())


def _fitted_on_all() -> Audit:
    until = 400

    def fit(world: Market) -> Mapping[str, Any]:
        candles = world.finest
        fitted = fit_regime_inputs([candles], [np.arange(len(candles))], "1h")
        return {"centre": fitted.centre, "spread": fitted.spread}

    return audit_fit("inputs", fit, Market.of(_candles()), int(_candles().close_time[until - 1]), seeds=1, measure=False, hearing=False)


def _decoder(kind: type[Decoder]) -> Audit:
    sound, model = _sound().readers["1h"].decoder, _sound().inputs.switching["1h"]
    return audit_decoder(_remade(kind, sound), model.probabilities, _candles(), effort=replace(_EFFORT, steps=3))


REGIME_MUTANTS: Final = (
    RegimeMutant("a decoder that smooths with one bar ahead", "future", "decoder 1h", 1, lambda: _with_decoder(_Ahead)),
    RegimeMutant("a decoder that takes short stretches back", "future", "label 1h", 1, lambda: _with_decoder(_Tidied), at_least=True),
    RegimeMutant("a decoder that is a bar late", "stale", "decoder 1h", 1, lambda: _with_decoder(_Late)),
    RegimeMutant("a coarse decoder that is a bar late", "stale", "decoder 4h", 4, lambda: _with_decoder(_Late, "4h")),
    RegimeMutant("the best path shown as filtered", "future", "label 1h", None, _best_path),
    RegimeMutant("inputs standardised over all data", "future", "inputs", 100, lambda: _with_inputs(_StandardisedOnAll), at_least=True),
    RegimeMutant("coarse bars joined on open times", "future", "inputs 4h", 3, lambda: _with_inputs(_AtOpenTime)),
    RegimeMutant("a coarse regime shown at its open time", "future", "decoder 4h", 4, _read_at_open),
    RegimeMutant("a scale of all returns in the switching model", "future", "switching 1h", 100, _with_switching, at_least=True),
    RegimeMutant(
        "a network that pads both sides", "future", "network", 1,
        lambda: _audited(replace(_sound(), networks=(replace(_sound().networks[0], mode="smoothed"),))), at_least=True,
    ),
    RegimeMutant(
        "a network that is a bar late", "stale", "network", 1,
        lambda: _audited(replace(_sound(), networks=(_remade(_StaleNetwork, _sound().networks[0]),))),
    ),
    RegimeMutant("an attention that sees both sides", "future", "network", 1, _both_sides, at_least=True),
    RegimeMutant(
        "an attention that forgets the history", "stream", "decoder 1h", None, lambda: _streamed(_oblivious, _attentive()),
    ),
    RegimeMutant("a chart that confirms retroactively", "future", "change 1h", 2, lambda: _chart(_Retroactive)),
    RegimeMutant("a chart that confirms too soon", "stream", "regime 1h", None, lambda: _chart(_Impatient)),
    RegimeMutant("a stream that begins from too little history", "stream", "decoder 1h", None, lambda: _streamed(_forgetful)),
    RegimeMutant("a stream whose coarse bars come a candle late", "stream", "decoder", None, lambda: _streamed(_slow)),
    RegimeMutant("a stream whose network is a bar late", "stream", "decoder 1h", None, lambda: _streamed(_stale_network_stream)),
    RegimeMutant("weights that both modes share by a link", "split", "regimes-filtered/network-0", None, lambda: _apart(True)),
    RegimeMutant("weights that both modes share as a copy", "split", "regimes-filtered/network-0", None, lambda: _apart(False)),
    RegimeMutant("a smoothed part that says it is filtered", "future", "label 1h", None, _untyped),
    RegimeMutant("inputs scaled on later bars too", "fit", "centre", None, _fitted_on_all),
    RegimeMutant("a decoder by itself that reads a bar ahead", "future", "belief", 1, lambda: _decoder(_Ahead)),
    RegimeMutant("a decoder by itself that is a bar late", "stale", "every output", 1, lambda: _decoder(_Late)),
    RegimeMutant("a decoder by itself that takes stretches back", "future", "label", 1, lambda: _decoder(_Tidied), at_least=True),
)  # fmt: skip
