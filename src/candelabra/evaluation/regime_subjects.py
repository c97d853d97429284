"""Subjects of regimes: a segmenter layer by layer as of each base close, what its network reads, a decoder, a statechart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import timeframe
from candelabra.errors import UsageError
from candelabra.evaluation.answers import Answer
from candelabra.evaluation.subject import LAWFUL, Subject
from candelabra.evaluation.worlds import WAYS, Arrays, Market, World
from candelabra.models.regime_input_stream import RegimeInputStream
from candelabra.models.regime_inputs import RegimeInputs, candles_at
from candelabra.models.segmenter import OF_FEW_NUMBERS, Segmenter, network_chances
from candelabra.regimes.decoding import Decoder
from candelabra.regimes.hysteresis import HysteresisSettings
from candelabra.regimes.reading import RegimeReading, read_regimes
from candelabra.regimes.statechart import RegimeChart
from candelabra.windows.alignment import asof_index

__all__ = ["LAYERS", "Chart", "Place", "chart_subject", "decoder_subject", "inputs_subject", "place_of", "segmenter_subject"]

Floats = NDArray[np.float64]
Columns = dict[str, Floats]
Chart = Callable[[Mapping[str, HysteresisSettings], Mapping[str, Sequence[str]]], RegimeChart]

LAYERS: Final = ("switching", "inputs", "network", "chances", "decoder", "label", "age")
"""The layers of a segmenter, each fed by those before it; the first word of a column's name."""
_DECIDED: Final = ("label", "age")


@dataclass(frozen=True)
class Place:
    """Where a column stands: its layer, and the timeframe it speaks of (None: what the network reads, which feeds every timeframe)."""

    layer: str
    timeframe: str | None

    def feeds(self, other: Place) -> bool:
        """Whether what is wrong here is passed on there."""
        if LAYERS.index(self.layer) >= LAYERS.index(other.layer):
            return False
        return self.layer in ("switching", "inputs") or self.timeframe == other.timeframe


def place_of(column: str) -> Place:
    """The place of a column of `segmenter_subject`."""
    layer, _, rest = column.partition(" ")
    return Place(layer, None if layer == "inputs" else rest.partition(":")[0])


def segmenter_subject(
    segmenter: Segmenter, candles: Candles, name: str, regimes: Callable[[Candles], Mapping[str, RegimeReading]] | None = None
) -> Subject:
    """Every layer of a segmenter as of each base close: what switching models hear, inputs, network, chances, beliefs, labels, ages.

    ``candles``: those of the world, for the closes at which slow timeframes are due. ``regimes``: what reads the candles (default:
    `Segmenter.regimes`). Labels wait for a decoder to be sure, so they need not hear of the newest bar; all that comes before must.
    """
    read = regimes or segmenter.regimes
    needed = any(reader.source not in OF_FEW_NUMBERS for reader in segmenter.readers.values())

    def answer(world: World) -> Answer:
        base = candles_at(_finest(world), segmenter.inputs.base)
        columns: Columns = {}
        for tf, model in segmenter.inputs.switching.items():
            own = candles_at(base, timeframe(tf))
            columns |= _as_of(base, own.close_time, f"switching {tf}", model.labels, model.probabilities(own))
        told: dict[str, Floats] = {}
        if needed:
            columns |= {f"inputs {n}": column for n, column in _inputs(segmenter.inputs, base).items()}
            told = network_chances(segmenter.networks, segmenter.inputs, base)
        heard = segmenter.chances(base)
        for tf, reading in read(base).items():
            labels = reading.labels
            if tf in told:
                columns |= {f"network {tf}: {label}": told[tf][:, k] for k, label in enumerate(labels)}
            columns |= _as_of(base, candles_at(base, timeframe(tf)).close_time, f"chances {tf}", labels, heard[tf])
            columns |= _as_of(base, reading.close_time, f"decoder {tf}", labels, reading.probabilities)
            shown = np.where(reading.code < 0, np.nan, reading.code.astype(np.float64))
            columns |= _as_of(base, reading.close_time, "label", (tf,), shown[:, None], plain=True)
            columns |= _as_of(base, reading.close_time, "age", (tf,), reading.age.astype(np.float64)[:, None], plain=True)
        return Answer.of(base.close_time, columns)

    decided = {f"{layer} {tf}": -1 for layer in _DECIDED for tf in segmenter.readers}
    return Subject(name, answer, delays=decided, shocked_at=_due(segmenter, candles))


def inputs_subject(inputs: RegimeInputs, name: str = "what a regime network reads") -> Subject:
    """The scaled inputs of each base bar; their stream as tail."""

    def answer(world: World) -> Answer:
        base = candles_at(_finest(world), inputs.base)
        return Answer.of(base.close_time, _inputs(inputs, base))

    def tail(world: World) -> Answer:
        base = candles_at(_finest(world), inputs.base)
        stream = RegimeInputStream(inputs, base.symbol)
        rows, before = [], 0
        for stop in (max(len(base) - 5, 1), *range(max(len(base) - 4, 2), len(base) + 1)):  # the history, then candle by candle
            piece = base.rows(slice(before, stop))
            closed = {tf: _closing(base, tf, before, stop) for tf in inputs.switching}
            closed[inputs.base.name] = piece
            rows.append(stream.table(piece, closed, stream.hear(closed)))
            before = stop
        return Answer.of(base.close_time[-1:], dict(zip(_names(inputs), rows[-1][-1:].astype(np.float64).T, strict=True)))

    return Subject(name, answer, tail=tail)


def decoder_subject(decoder: Decoder, classify: Callable[[Candles], Floats], name: str) -> Subject:
    """What a decoder makes of the chances of a causal classifier ``(n, K)``: beliefs, and labels by the time they are said.

    Beliefs must hear of the newest bar; labels may wait, and those of a decoder that decides after later bars may read until they are said.
    """

    def answer(world: World) -> Answer:
        candles = _finest(world)
        reading = read_regimes(candles, decoder, classify(candles))
        columns = {f"belief: {label}": reading.probabilities[:, k] for k, label in enumerate(decoder.labels)}
        columns["label"] = np.where(reading.code < 0, np.nan, reading.code.astype(np.float64))
        return Answer.of(candles.close_time, columns, reading.said_at)

    def tail(world: World) -> Answer:
        candles = _finest(world)
        stream = decoder.stream()
        p = classify(candles)
        stream.run(p[:-3])
        for row in p[-3:-1]:
            stream.push(row)
        code, believed = stream.push(p[-1])
        columns = {f"belief: {label}": believed[k : k + 1] for k, label in enumerate(decoder.labels)}
        return Answer.of(candles.close_time[-1:], columns | {"label": np.array([np.nan if code < 0 else float(code)])})

    reads_all = not (decoder.causal or decoder.settings.lag)
    ways = tuple(w for w in LAWFUL if w != "append") if reads_all else LAWFUL
    fresh = "any" if decoder.causal else "no"
    return Subject(name, answer, ways, fresh=fresh, tail=tail if decoder.causal else None)  # type: ignore[arg-type]


def chart_subject(
    rules: Mapping[str, HysteresisSettings], labels: Mapping[str, Sequence[str]], name: str, make: Chart = RegimeChart
) -> Subject:
    """A statechart fed bar by bar with `Arrays` of chances ``(n, K)`` by timeframe: the regimes after each bar, and changes where they say.

    A bar of a timeframe is sent at rows that lie on its grid.
    """

    def answer(world: World) -> Answer:
        if not isinstance(world, Arrays):
            raise UsageError("a statechart is audited on chances: give Arrays(time_ms, {timeframe: chances})")
        chart, times = make(rules, labels), world.time_ms
        columns = {f"{what} {tf}": np.full(len(times), np.nan) for tf in rules for what in ("regime", "change")}
        closes = {tf: timeframe(tf).floor(times) == times for tf in rules}
        for row, time in enumerate(times.tolist()):
            told = {tf: world.values[tf][row] for tf in rules if closes[tf][row]}
            for change in chart.send_bar(time, told) if told else ():
                at = np.searchsorted(times, change.time_ms)
                if at < len(times) and times[at] == change.time_ms:
                    columns[f"change {change.timeframe}"][at] = list(labels[change.timeframe]).index(change.after)
            for tf, regime in chart.regimes.items():
                columns[f"regime {tf}"][row] = np.nan if regime is None else list(labels[tf]).index(regime)
        return Answer.of(times, columns)

    return Subject(name, answer, WAYS, fresh="no")


def _inputs(inputs: RegimeInputs, base: Candles) -> Columns:
    table = inputs.table(base).astype(np.float64)
    return dict(zip(_names(inputs), table.T, strict=True))


def _names(inputs: RegimeInputs) -> tuple[str, ...]:
    names, columns = inputs.names, len(inputs.centre)
    return names if len(names) == columns else tuple(f"column {k}" for k in range(columns))


def _as_of(base: Candles, close: NDArray[np.int64], what: str, names: Sequence[str], values: Floats, *, plain: bool = False) -> Columns:
    """Columns of a timeframe's bars at base closes: those of the newest bar that says it has closed."""
    rows = asof_index(base.close_time, close)
    placed = np.concatenate([np.full((1, values.shape[1]), np.nan), values])[rows + 1]
    return {f"{what} {n}" if plain else f"{what}: {n}": placed[:, k] for k, n in enumerate(names)}


def _closing(base: Candles, tf: str, before: int, stop: int) -> Candles:
    """The bars of a timeframe that close with base rows ``before:stop``."""
    own = candles_at(base.rows(slice(0, stop)), timeframe(tf))
    return own.rows(slice(len(candles_at(base.rows(slice(0, before)), timeframe(tf))) if before else 0, None))


def _due(segmenter: Segmenter, candles: Candles) -> tuple[int, ...]:
    """The newest close of each timeframe at which a base bar closes too."""
    base = candles_at(candles, segmenter.inputs.base)
    found = []
    for tf in dict.fromkeys([*segmenter.readers, *segmenter.inputs.switching]):
        both = np.intersect1d(candles_at(base, timeframe(tf)).close_time, base.close_time)
        found += both[-1:].tolist()
    return tuple(dict.fromkeys(sorted(found, reverse=True)))


def _finest(world: World) -> Candles:
    if not isinstance(world, Market):
        raise UsageError("regimes are read from candles: audit them on Market.of(candles)")
    return world.finest
