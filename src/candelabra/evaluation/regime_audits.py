"""Audits of regimes: a filtered segmenter in every layer and candle by candle, its statechart, and that hindsight stays apart.

What is wrong in one layer shows in all that it feeds; only the first is blamed, and those that inherit it are named in a note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight
from candelabra.errors import DataError
from candelabra.evaluation.causality import Probe, audit, audit_future
from candelabra.evaluation.findings import Audit, Finding, Law
from candelabra.evaluation.regime_subjects import Chart, chart_subject, decoder_subject, place_of, segmenter_subject
from candelabra.evaluation.subject import LAW_3, Effort, Subject
from candelabra.evaluation.worlds import Arrays, Market
from candelabra.models.regime_inputs import candles_at
from candelabra.models.segmenter import Segmenter
from candelabra.models.segmenter_stream import RegimeBar, SegmenterStream
from candelabra.regimes.decoding import Decoder
from candelabra.regimes.hysteresis import HysteresisSettings, hysteresis
from candelabra.regimes.reading import RegimeReading
from candelabra.regimes.statechart import RegimeChart

__all__ = ["audit_apart", "audit_candle_by_candle", "audit_decoder", "audit_segmenter", "audit_statechart", "blamed"]

Floats = NDArray[np.float64]
Stream = Callable[[Segmenter, Candles], SegmenterStream]
_SHOWN: Final = 4
_EFFORT: Final = Effort(moments=3, early=1, positions=3, sizes=(0.05, -0.3), steps=2, measured=3, told=8)
_CHART: Final = Effort(ways=("values", "mirror", "nan", "cut", "append"), steps=0, measured=2)
_TURNS: Final = 8
_CHART_BARS: Final = 80


def audit_segmenter(
    segmenter: Segmenter,
    candles: Candles,
    *,
    name: str = "filtered regimes",
    effort: Effort | None = None,
    regimes: Callable[[Candles], Mapping[str, RegimeReading]] | None = None,
    seed: int = 0,
) -> Audit:
    """Point in time, fresh (up to the beliefs: labels wait on purpose), and cut at one close after another; findings name the layer.

    A filtered segmenter whose readings are `Hindsight` is found out by their type.
    """
    subject = segmenter_subject(segmenter, candles, name, regimes)
    beliefs = {tf: [f"decoder {tf}: {label}" for label in one.decoder.labels] for tf, one in segmenter.readers.items()}
    made = _with_turns(subject, Market.of(candles), effort or _EFFORT, beliefs.values(), seed)
    typed = tuple(
        Finding(name, "future", f"label {tf}", None, detail=f"it is read as a {type(one).__name__}, which knows what came later")
        for tf, one in (regimes or segmenter.regimes)(candles).items()
        if isinstance(one, Hindsight)
    )
    told = blamed(made)
    return replace(told, findings=(*typed, *told.findings))


def audit_decoder(
    decoder: Decoder,
    classify: Callable[[Candles], Floats],
    candles: Candles,
    *,
    name: str = "",
    effort: Effort | None = None,
    seed: int = 0,
) -> Audit:
    """A decoder by itself, on the chances ``(n, K)`` that a causal classifier gives of candles."""
    subject = decoder_subject(decoder, classify, name or f"decoder {decoder.settings.kind}")
    world, chosen = Market.of(candles), effort or _EFFORT
    if not (decoder.causal or decoder.settings.lag):
        found = audit(subject, world, effort=chosen, seed=seed)
        note = "it decides when the whole stretch is there: its labels are known at the end of the candles only, and typed Hindsight"
        return replace(found, notes=(*found.notes, note))
    return _with_turns(subject, world, chosen, [[f"belief: {label}" for label in decoder.labels]], seed)


def _with_turns(subject: Subject, world: Market, effort: Effort, beliefs: Iterable[Sequence[str]], seed: int) -> Audit:
    """`causality.audit`, and history cut wherever the likeliest label has just become another: what is taken back shows nowhere else."""
    found = audit(subject, world, effort=effort, seed=seed)
    probe = Probe.start(subject, world, seed)
    turns: set[int] = set()
    for columns in beliefs:
        p = probe.base.values[:, [probe.base.names.index(name) for name in columns]]
        best = np.where(np.isfinite(p).all(axis=1), np.argmax(np.nan_to_num(p), axis=1), -1)
        rows = np.flatnonzero(np.diff(best)) + 1
        turns |= set(rows[np.unique(np.linspace(0, len(rows) - 1, _TURNS).astype(int))].tolist() if len(rows) else ())
    at = tuple(int(probe.base.time_ms[row]) for row in sorted(turns) if row < len(probe.base) - 1)
    more = audit_future(probe, Effort(at=at, ways=("cut",), measured=effort.measured, told=effort.told)) if at else []
    named = {(f.law, f.column) for f in found.findings}
    tried = {**found.tried, "cut where the likeliest label turns": len(at)}
    return replace(found, findings=(*found.findings, *(f for f in more if (f.law, f.column) not in named)), tried=tried)


def blamed(found: Audit) -> Audit:
    """The same audit with the first layers that break a law; a note names the others."""
    kept: list[Finding] = []
    inherited: dict[str, None] = {}
    for one in found.findings:
        own = place_of(one.column)
        if any(other.law == one.law and place_of(other.column).feeds(own) for other in found.findings):
            inherited[f"{own.layer} {own.timeframe}" if own.timeframe else own.layer] = None
        else:
            kept.append(one)
    shown: list[Finding] = []
    more: dict[tuple[str, Law], int] = {}
    for one in sorted(kept, key=lambda f: -(f.bars or 0)):
        key = place_of(one.column).layer, one.law
        more[key] = more.get(key, 0) + 1
        if more[key] <= _SHOWN:
            shown.append(one)
    notes = [f"{count - _SHOWN} more columns of the layer {layer} are the same" for (layer, _), count in more.items() if count > _SHOWN]
    if inherited:
        notes.append(f"what follows inherits it, and is not judged by itself: {', '.join(inherited)}")
    return replace(found, findings=tuple(shown), notes=(*found.notes, *notes))


def audit_candle_by_candle(
    segmenter: Segmenter, candles: Candles, *, bars: int = 150, make: Stream = SegmenterStream, name: str = "regimes candle by candle"
) -> Audit:
    """The newest ``bars`` base candles pushed one at a time, against the whole history: chances within 1e-5, the same labels and ages.

    DataError with too few candles to push any after a history.
    """
    base = candles_at(candles, segmenter.inputs.base)
    start = max(len(base) - bars, len(base) // 2)
    if start < 1 or start >= len(base):
        raise DataError(f"{base.symbol} has {len(base)} closed {base.timeframe} bars: give more candles")
    states = segmenter.states(candles).at(base.close_time) if segmenter.asks_states else None
    history = base.rows(slice(0, start))
    stream = make(segmenter, history) if states is None else SegmenterStream(segmenter, history, states[:start])
    told = []
    for k in range(start, len(base)):
        told += stream.push(base.rows(slice(k, k + 1)), None if states is None else states[k : k + 1])
    begin = int(base.close_time[start - 1])
    found: list[Finding] = []
    rows = 0
    for tf, whole in segmenter.regimes(base).items():
        own = {bar.close_ms: bar for bar in told if bar.timeframe == tf}
        later = np.flatnonzero(whole.close_time > begin)
        rows += len(later)
        found += _unlike(name, tf, whole, later, own)
    tried = {"candles, one by one": len(base) - start}
    return Audit(name, tuple(found), tried, (), 2 * len(segmenter.readers), rows, 0, base.fingerprint)


def audit_statechart(
    rules: Mapping[str, HysteresisSettings],
    labels: Mapping[str, Sequence[str]],
    told: Mapping[str, tuple[NDArray[np.int64], Floats]],
    *,
    make: Chart = RegimeChart,
    name: str = "statechart",
    bars: int = _CHART_BARS,
    seed: int = 0,
) -> Audit:
    """A chart on the ``bars`` bars whose likeliest label turns most often: nothing it held or told is revised, and it holds what
    `hysteresis` does over history.

    ``told``: closes (ms) and chances ``(n, K)`` by timeframe, the shortest first.
    """
    times = _restless(*next(iter(told.values())), bars)
    values = {}
    for tf, (close, p) in told.items():
        placed = np.full((len(times), p.shape[1]), np.nan)
        _, here, there = np.intersect1d(times, close, return_indices=True)
        placed[here] = p[there]
        values[tf] = placed
    world, subject = Arrays(times, values, min(told, key=lambda tf: len(tf))), chart_subject(rules, labels, name, make)
    world = replace(world, unit=next(iter(told)))
    answer, more = subject.answer(world), []
    changes = np.flatnonzero((answer.values[1:] != answer.values[:-1]).any(axis=1) & np.isfinite(answer.values[1:]).any(axis=1))
    rows = np.unique(np.concatenate([changes[-_TURNS:], changes[-_TURNS:] - 1, np.linspace(3, len(times) - 2, 3).astype(np.int64)]))
    effort = replace(_CHART, at=tuple(int(times[row]) for row in rows if 0 <= row < len(times) - 1))
    found = audit(subject, world, effort=effort, seed=seed)
    for tf, p in values.items():
        sent = np.flatnonzero(np.isin(times, told[tf][0]))
        held = hysteresis(p[sent], rules[tf]).astype(np.float64)
        said = answer.values[sent, answer.names.index(f"regime {tf}")]
        differs = np.flatnonzero(~((held == said) | ((held < 0) & np.isnan(said))))
        if len(differs):
            detail = f"the chart and the rule over history hold different regimes on {len(differs)} bars"
            more.append(Finding(name, "stream", f"regime {tf}", None, world.unit, int(times[sent[differs[0]]]), detail=detail))
    return replace(found, findings=(*found.findings, *more), tried={**found.tried, "beside the rule over history": len(values)})


def audit_apart(filtered: Path, smoothed: Path, segmenter: Segmenter, candles: Candles, name: str = "smoothed regimes") -> Audit:
    """That what looks back is typed `Hindsight`, and that the folders of both modes share no file: no link, nothing of the same bytes."""
    found = [
        Finding(name, "future", f"label {tf}", None, detail=f"it is a {type(one).__name__}, which nothing keeps out of rules and live code")
        for tf, one in segmenter.regimes(candles).items()
        if not isinstance(one, Hindsight)
    ]
    theirs, shared = {_mark(path): path for path in _files(smoothed)}, 0
    for path in _files(filtered):
        shared += 1
        twin = theirs.get(_mark(path))
        linked = path.is_symlink() or any(path.samefile(other) for other in theirs.values())
        if twin is not None or linked:
            other = "a link" if linked else f"the same bytes as {smoothed.name}/{twin.name}" if twin is not None else ""
            detail = f"it is {other}: what looks back must not reach what is shown live"
            found.append(Finding(name, "split", f"{filtered.name}/{path.name}", None, way="shared file", detail=detail))
    tried = {"types of readings": len(segmenter.readers), "files of the filtered part": shared}
    note = "hindsight by nature: it reads both sides of a bar, so neither point in time nor a stream can be asked of it"
    return Audit(name, tuple(found), tried, (note,), len(segmenter.readers), len(candles), 0, candles.fingerprint)


def _restless(close: NDArray[np.int64], p: Floats, bars: int) -> NDArray[np.int64]:
    """The closes of so many bars in a row, in which the likeliest label turns most often; of equals the newest."""
    turns = np.concatenate([[0, 0], np.cumsum(np.diff(np.argmax(np.nan_to_num(p), axis=1)) != 0)])
    starts = np.arange(max(1, len(close) - bars + 1))
    counts = turns[np.minimum(starts + bars, len(close))] - turns[starts]
    first = len(starts) - 1 - int(np.argmax(counts[::-1]))
    return close[first : first + bars]


def _unlike(name: str, tf: str, whole: RegimeReading, later: NDArray[np.int64], own: Mapping[int, RegimeBar]) -> list[Finding]:
    """The first bar of a timeframe that the stream did not tell, or told otherwise, for beliefs, labels and ages."""
    closes = whole.close_time[later].tolist()
    extra = sorted(set(own) - set(closes))
    missing = [close for close in closes if close not in own]
    if extra or missing:
        what = f"it told of {len(extra)} bars that there are not" if extra else f"{len(missing)} bars were not told"
        return [Finding(name, "stream", f"label {tf}", None, tf, (extra or missing)[0], detail=what)]
    known = whole.probabilities[np.isfinite(whole.probabilities)]
    spread = float(np.std(known)) if len(known) else 0.0
    said = np.array([own[close].probabilities for close in closes]).reshape(len(closes), -1)
    want = whole.probabilities[later]
    with np.errstate(invalid="ignore"):
        apart = ~((np.abs(said - want) <= LAW_3 * np.maximum(np.abs(want), spread)) | (np.isnan(said) & np.isnan(want)))
    checks = {
        f"decoder {tf}": apart.any(axis=1),
        f"label {tf}": np.array([(own[close].label or "") != word for close, word in zip(closes, whole.names[later], strict=True)], bool),
        f"age {tf}": np.array([own[close].age for close in closes]) != whole.age[later],
    }
    found = []
    for column, differs in checks.items():
        if differs.any():
            detail = f"{int(differs.sum()):,} of {len(closes):,} bars differ from the whole history"
            found.append(Finding(name, "stream", column, None, tf, int(closes[int(np.argmax(differs))]), detail=detail))
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _mark(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
