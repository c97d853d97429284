"""Stores under processes that are killed and processes that crowd: how many bars were lost, doubled or wrong.

``python -m candelabra.testing.store_faults write|share ROOT NUMBER SEED`` is one of these processes.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.errors import CandelabraError, SourceError
from candelabra.sources import series
from candelabra.sources.store import Store

__all__ = ["Crowd", "Kills", "crowd", "kill_writers", "numbered_bars", "put"]

_MINUTE: Final = 60_000
_MONTH_END_MS: Final = 1_580_515_200_000
_BATCHES: Final = (1, 1, 1, 7, 60)
_TAIL_BARS: Final = 40
"""Writers fold so often that a kill often meets a fold."""
_WRITERS: Final = 4


@dataclass(frozen=True)
class Kills:
    """What was found after each kill: stores that could not be read, acknowledged bars gone, bars of other values, findings of verify."""

    kills: int
    acknowledged: int
    unreadable: int
    lost: int
    wrong: int
    findings: int


@dataclass(frozen=True)
class Crowd:
    """What four writers of one series did: bars missing, wrong or revised at the end, refusals and the longest wait for one (s)."""

    bars: int
    lost: int
    wrong: int
    refusals: int
    longest_s: float
    reads: int
    reads_that_failed: int


def numbered_bars(first: int, last: int) -> Candles:
    """Minutes by number, the same whoever asks; a month ends at number 40."""
    k = np.arange(first, last)
    close = 100.0 + k % 97
    return Candles.of("BTC/USDT", "1m", _MONTH_END_MS + _MINUTE * (k - 40), close, close + 1, close - 1, close, k + 1.0)


def put(store: Store, first: int, last: int) -> series.WriteReport:
    """Write numbered bars."""
    return store.write(numbered_bars(first, last), exchange="binance", source="test")


def kill_writers(root: Path, times: int, seed: int) -> Kills:
    """Kill -9 a writer at a random moment, look, and let the next go on, as often as said; ``root`` becomes the store.

    The moment lies some writes on and then somewhere in the time that one takes, however busy the machine is.
    """
    choose, store = random.Random(seed), Store.create(root)
    there = unreadable = lost = wrong = findings = 0
    for number in range(times):
        with _process("write", root, there, number) as writer:
            assert writer.stdout is not None
            said, lap = [writer.stdout.readline()], 0.05
            for _ in range(choose.randrange(6)):
                begun = time.monotonic()
                said.append(writer.stdout.readline())
                lap = time.monotonic() - begun
            time.sleep(choose.uniform(0, 2 * lap))
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.read().split()
        acknowledged = int(said[-1]) if said[1:] else there
        try:
            got = store.read("BTC/USDT", "1m") if store.series() else numbered_bars(0, 0)
        except CandelabraError:
            unreadable += 1
            continue
        lost += max(0, acknowledged - len(got))
        wrong += got.fingerprint != numbered_bars(0, len(got)).fingerprint
        findings += sum(not f.harmless for f in store.verify())
        there = len(got)
    return Kills(times, there, unreadable, lost, wrong, findings)


def crowd(root: Path, count: int) -> Crowd:
    """Four processes write every fourth bar each, one at a time, while this one reads; ``root`` becomes the store."""
    store = Store.create(root)
    put(store, 0, 1)
    writers = [_process("share", root, number, count) for number in range(_WRITERS)]
    whole = numbered_bars(0, count)
    seen, reads, failed = 1, 0, 0
    while any(w.poll() is None for w in writers):
        try:
            got = store.read("BTC/USDT", "1m")
            rows = np.isin(whole.open_time, got.open_time)
            failed += len(got) < seen or got.fingerprint != whole.rows(rows).fingerprint
            seen = len(got)
        except CandelabraError:
            failed += 1
        reads += 1
        time.sleep(0.02)
    said = [w.communicate()[0].split() for w in writers]
    refusals, longest = sum(int(s[0]) for s in said), max(float(s[1]) for s in said)
    got = store.read("BTC/USDT", "1m")
    wrong = got.fingerprint != whole.fingerprint or bool(store.revisions("BTC/USDT", "1m")) or bool(store.verify())
    return Crowd(count, count - len(got), int(wrong), refusals, longest, reads, failed)


def _process(role: str, root: Path, number: int, more: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "candelabra.testing.store_faults", role, str(root), str(number), str(more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _write_for_ever(store: Store, first: int, seed: int) -> None:
    choose = random.Random(seed)
    print("begin", flush=True)
    while True:
        count = choose.choice(_BATCHES)
        put(store, first, first + count)
        first += count
        print(first, flush=True)


def _write_a_share(store: Store, mine: int, count: int) -> None:
    refused, longest = 0, 0.0
    for k in range(mine, count, _WRITERS):
        while True:
            start = time.monotonic()
            try:
                put(store, k, k + 1)
                break
            except SourceError as error:
                if not error.retryable:
                    raise
                refused, longest = refused + 1, max(longest, time.monotonic() - start)
    print(refused, longest)


def _main(role: str, root: str, number: str, more: str) -> None:
    series._TAIL_BARS = _TAIL_BARS  # type: ignore[misc]
    {"write": _write_for_ever, "share": _write_a_share}[role](Store.open(root), int(number), int(more))


if __name__ == "__main__":
    _main(*sys.argv[1:])
