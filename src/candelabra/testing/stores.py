"""Damage done to stores on purpose: what a read of a damaged store must never do is answer wrongly without a word."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.errors import CandelabraError, DataError
from candelabra.sources.provenance import Hole, Span, union
from candelabra.sources.store import Store

__all__ = ["Damage", "Outcome", "answers", "damaged", "example_store", "outcome", "repaired_wrongly"]

Outcome = Literal["detected", "harmless", "silent"]
_MINUTE = 60_000
_START_MS = 1_704_067_200_000 - 700 * _MINUTE  # shortly before a new year: two month files


@dataclass(frozen=True)
class Damage:
    """One thing done to one file of a copy of a store."""

    root: Path
    file: str
    what: str


def example_store(root: Path, bars: int = 3000) -> Store:
    """A small store with everything in it: month files, a tail, revisions, told holes, several sources."""
    random_ = np.random.default_rng(5)
    close = np.round(30_000 * np.exp(np.cumsum(random_.normal(0, 5e-4, bars))), 2)
    columns = [close, np.round(close + 5.0, 2), np.round(close - 5.0, 2), close, np.round(random_.gamma(2.0, 10.0, bars), 5)]
    times = _START_MS + _MINUTE * np.arange(bars)
    there = np.ones(bars, np.bool_)
    there[[*range(100, 180), *range(2000, 2003)]] = False
    whole = Candles.of("BTC/USDT", "1m", times[there], *(c[there] for c in columns), span=(int(times[0]), int(times[-1]) + _MINUTE))
    store = Store.create(root)
    outage = Hole(int(times[100]), int(times[180]), "exchange gap")
    store.write(whole.rows(slice(0, 2500)), exchange="binance", source="a file", fetched_ms=1)
    revised = [v[[7, 1200, 2700]] * 1.0 for v in whole.values()]
    revised[4] = np.round(revised[4] + 1.0, 5)
    again = Candles.of("BTC/USDT", "1m", whole.open_time[[7, 1200, 2700]], *revised)
    store.write(again.rows(slice(0, 2)), exchange="binance", source="again", fetched_ms=2)
    cut = int(whole.open_time[2500])
    later = Candles.of("BTC/USDT", "1m", whole.open_time[2500:], *(v[2500:] for v in whole.values()), span=(cut, whole.span[1]))
    store.write(later, exchange="binance", source="the exchange", fetched_ms=2)
    store.record("BTC/USDT", "1m", outage.start_ms, outage.end_ms, exchange="binance", source="the exchange", fetched_ms=3, holes=[outage])
    store.write(again.rows(slice(2, 3)), exchange="binance", source="again", fetched_ms=4)
    return store


def answers(store: Store) -> dict[str, Any]:
    """Everything the example store is asked: bars at two timeframes and in part, gaps, provenance, revisions."""
    part = (_START_MS + 650 * _MINUTE, _START_MS + 750 * _MINUTE)
    return {
        "bars": _facts(store.read("BTC/USDT", "1m")),
        "hours": _facts(store.read("BTC/USDT", "1h")),
        "part": _facts(store.read("BTC/USDT", "1m", *part)),
        "newest": _facts(store.read("BTC/USDT", "1m", _START_MS + 2900 * _MINUTE)),
        "gaps": store.gaps("BTC/USDT", "1m"),
        "provenance": store.provenance("BTC/USDT", "1m"),
        "revisions": store.revisions("BTC/USDT", "1m"),
    }


def damaged(store: Store, scratch: Path, count: int, seed: int = 0) -> Iterator[Damage]:
    """Copies of a store, one file of each (data, manifest, tail) with a flipped bit or cut off at a random length.

    Each copy is gone when the next comes.
    """
    choose = random.Random(seed)
    kinds = ("*.parquet", "manifest.json", "tail.sqlite", "tail.sqlite-wal")
    files = sorted(p.relative_to(store.root) for kind in kinds for p in store.root.rglob(kind) if p.stat().st_size)
    for number in range(count):
        root = scratch / "copy"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(store.root, root)
        file = choose.choice(files)
        data = bytearray((root / file).read_bytes())
        if number % 5:
            at = choose.randrange(8 * len(data))
            data[at // 8] ^= 1 << (at % 8)
            what = f"bit {at % 8} of byte {at // 8} of {len(data)} flipped"
        else:
            length = choose.randrange(len(data))
            del data[length:]
            what = f"cut off at {length}"
        (root / file).write_bytes(data)
        yield Damage(root, file.as_posix(), what)


def outcome(damage: Damage, truth: dict[str, Any], *, write_first: Candles | None = None) -> tuple[Outcome, str]:
    """What a damaged store does when it is asked: an error of ours, the true answers, or (never) others.

    ``write_first``: bars of the truth to write before asking, since a write must not make damage worse either.
    """
    try:
        store = Store.open(damage.root)
        if write_first is not None:
            store.write(write_first, exchange="binance", source="the exchange", fetched_ms=2)
        got = answers(store)
    except CandelabraError as error:
        return "detected", str(error)
    wrong = [name for name, value in truth.items() if got[name] != value]
    return ("silent", ", ".join(wrong)) if wrong else ("harmless", "")


def repaired_wrongly(damage: Damage, truth: Candles) -> str:
    """What is wrong after a repair: a value that never was, or a bar that is gone and not named among what to fetch again."""
    store = Store.open(damage.root)
    done = store.repair()
    fetch = union(span for mended in done for span in mended.fetch)
    try:
        got = store.read(truth.symbol, truth.timeframe)
    except DataError as error:
        return f"still unreadable: {error}"
    except CandelabraError:
        got = truth.rows(slice(0, 0))
    true = dict(zip(truth.open_time.tolist(), zip(*(v.tolist() for v in truth.values()), strict=True), strict=True))
    have = dict(zip(got.open_time.tolist(), zip(*(v.tolist() for v in got.values()), strict=True), strict=True))
    strange = [t for t, values in have.items() if true.get(t) != values]
    gone = [t for t in true if t not in have and not _inside(t, fetch)]
    left = [f for f in store.verify() if not f.harmless]
    told = [f"{len(strange)} bars hold values that never were"] * bool(strange) + [f"{len(gone)} bars are gone unnamed"] * bool(gone)
    return "; ".join([*told, *(f"still damaged: {f.file} {f.what}" for f in left)])


def _inside(time: int, spans: list[Span]) -> bool:
    return any(start <= time < end for start, end in spans)


def _facts(candles: Candles) -> tuple[Any, ...]:
    return candles.fingerprint, candles.span, candles.simulated
