"""A store under kill -9, flipped bits, full disks and crowds of writers: nothing acknowledged is lost, nothing wrong is read in silence."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from candelabra.errors import SourceError
from candelabra.sources import series, tail
from candelabra.sources.bars import Bars
from candelabra.sources.store import Store
from candelabra.testing.store_faults import Kills, crowd, kill_writers, put
from candelabra.testing.store_faults import numbered_bars as bars
from candelabra.testing.stores import answers, damaged, example_store, outcome, repaired_wrongly


def test_a_writer_killed_at_a_random_moment_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    assert_nothing_lost(kill_writers(tmp_path / "s", 4, seed=1), tmp_path / "s")


@pytest.mark.slow
def test_many_kills(tmp_path: Path, storms: bool) -> None:
    assert_nothing_lost(kill_writers(tmp_path / "s", 200 if storms else 14, seed=2), tmp_path / "s")


def assert_nothing_lost(found: Kills, root: Path) -> None:
    assert (found.unreadable, found.lost, found.wrong, found.findings) == (0, 0, 0, 0)
    assert found.acknowledged > found.kills, "the writers were killed before they wrote"
    store = Store.open(root)
    put(store, found.acknowledged, found.acknowledged + 1)
    assert store.verify() == [], "the next writer clears what killed ones left"
    assert not list(store.one("BTC/USDT", "1m").folder.glob(".*"))


EVERY_INSTANT = """
import os, shutil, sqlite3, sys
from pathlib import Path
from candelabra.sources import series
from candelabra.sources.store import Store
from candelabra.testing.store_faults import numbered_bars as bars, put
series._TAIL_BARS = 40
base = Path({base!r})
put(Store.create(base), 0, 70)      # two month files
put(Store.open(base), 70, 90)       # a tail
whole = Store.open(base).read("BTC/USDT", "1m").fingerprint
instants = 0

def die_at(number):
    left = [number]
    def counted(call):
        def counting(*arguments, **named):
            for _ in ("before", "after"):
                left[0] -= 1
                if not left[0]:
                    os._exit(9)
                if _ == "before":
                    result = call(*arguments, **named)
            return result
        return counting
    for name in ("fsync", "replace", "mkdir", "unlink", "pwrite"):
        setattr(os, name, counted(getattr(os, name)))
    class Connection(sqlite3.Connection):
        execute, executemany, close = map(counted, (sqlite3.Connection.execute, sqlite3.Connection.executemany, sqlite3.Connection.close))
    real = sqlite3.connect
    sqlite3.connect = lambda *arguments, **named: real(*arguments, factory=Connection, **named)

for what in ("append", "fold", "bulk", "begin"):
    number = 1 - {stride}
    while True:
        number += {stride}
        root = base.with_name("copy")
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(base, root) if what != "begin" else Store.create(root)
        first, last = dict(append=(90, 91), fold=(90, 120), bulk=(90, 200), begin=(0, 90))[what]
        child = os.fork()
        if not child:
            die_at(number)
            put(Store(root), first, last)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        store = Store.open(root)
        try:
            if what == "begin" and not store.series():
                assert code == 9
            else:
                got = store.read("BTC/USDT", "1m")
                assert len(got) in ((90, last) if what != "begin" else (0, 90)), (what, number, len(got))
                assert got.fingerprint == bars(0, len(got)).fingerprint
                assert code == 9 or len(got) == last
                assert [f for f in store.verify() if not f.harmless] == []
            put(store, first, last)
            assert store.read("BTC/USDT", "1m").fingerprint == bars(0, max(90, last)).fingerprint
            assert store.verify() == [] and store.revisions("BTC/USDT", "1m") == []
        except BaseException:
            print("killed at instant", number, "of", what, file=sys.stderr)
            raise
        instants += 1
        if code == 0:
            break
print(instants)
"""


def die_everywhere(tmp_path: Path, stride: int) -> int:
    """Every sync, rename and SQLite call of an append, a fold, a large write and a first write is a process's last, in turn."""
    script = EVERY_INSTANT.format(base=str(tmp_path / "base"), stride=stride)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_writer_may_die_before_or_after_any_of_its_steps(tmp_path: Path) -> None:
    assert die_everywhere(tmp_path, 9) > 15


@pytest.mark.slow
def test_a_writer_may_die_before_or_after_each_of_its_steps(tmp_path: Path, storms: bool) -> None:
    stride = 1 if storms else 4
    assert die_everywhere(tmp_path, stride) > 150 // stride


def flip(tmp_path: Path, count: int, seed: int) -> Counter[str]:
    store = example_store(tmp_path / "s")
    truth, candles = answers(store), store.read("BTC/USDT", "1m")
    outcomes: Counter[str] = Counter()
    for number, damage in enumerate(damaged(store, tmp_path, count, seed)):
        first = candles.rows(slice(2900, 2901)) if number % 5 == 3 else None
        what, why = outcome(damage, truth, write_first=first)
        assert what != "silent", f"{damage.file}: {damage.what}: {why}"
        outcomes[what] += 1
        if first is None:
            wrong = repaired_wrongly(damage, candles)
            assert not wrong, f"{damage.file}: {damage.what}: after repair: {wrong}"
    return outcomes


def test_flipped_bits_and_cut_off_files_are_detected_or_harmless_and_repair_loses_nothing_unnamed(tmp_path: Path) -> None:
    outcomes = flip(tmp_path, 40, seed=1)
    assert outcomes["detected"] > 25


@pytest.mark.slow
def test_many_flips_and_cuts(tmp_path: Path, storms: bool) -> None:
    count = 4000 if storms else 250
    outcomes = flip(tmp_path, count, seed=7)
    print(dict(outcomes))
    assert outcomes["detected"] > 0.7 * count


def test_the_measure_sees_damage_that_nothing_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the checks of the tail switched off, flipped bits are read as prices: what the checks are for."""
    store = example_store(tmp_path / "s")
    truth = answers(store)
    monkeypatch.setattr(tail, "_total", lambda checks: Anything())
    monkeypatch.setattr(tail, "_sound_bars", unchecked_bars)
    found = [outcome(damage, truth)[0] for damage in damaged(store, tmp_path, 60, seed=3) if damage.file.endswith("sqlite")]
    assert "silent" in found


def unchecked_bars(rows: list[tuple[int, bytes]]) -> Bars:
    rows = [(t, blob) for t, blob in rows if isinstance(blob, bytes) and len(blob) == 48]
    table = np.frombuffer(b"".join(blob for _, blob in rows), "<f8").reshape(len(rows), 6)
    return Bars(np.array([t for t, _ in rows], np.int64), np.ascontiguousarray(table[:, :5].T))


class Anything:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A disk of 2 MB of its own, and the file that fills it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here ({done.stderr.strip()}); the limit on file sizes is tried all the same")
    yield disk, disk / "filler"
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("count", [1, 30, 5000], ids=["append", "fold", "bulk"])
def test_on_a_full_disk_old_bars_stay_whole_and_writing_goes_on_when_there_is_space(
    full_disk: tuple[Path, Path], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, filler = full_disk
    monkeypatch.setattr(series, "_TAIL_BARS", 40)
    store = Store.create(disk / "s")
    put(store, 0, 70)
    put(store, 70, 90)
    refused = 0
    for spare in (0, 4096, 20_480, 65_536):
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        os.truncate(filler, max(0, filler.stat().st_size - spare))
        before = len(store.read("BTC/USDT", "1m"))
        try:
            put(store, 90, 90 + count)
        except SourceError:
            refused += 1
        got = store.read("BTC/USDT", "1m")
        assert len(got) in (before, 90 + count)
        assert got.fingerprint == bars(0, len(got)).fingerprint
        assert [f for f in store.verify() if not f.harmless] == []
    assert refused
    filler.unlink()
    put(store, 90, 90 + count)
    assert store.read("BTC/USDT", "1m").fingerprint == bars(0, 90 + count).fingerprint
    assert store.verify() == []


def test_a_disk_that_cannot_be_written_is_read_and_says_so_when_written(full_disk: tuple[Path, Path]) -> None:
    disk, _ = full_disk
    store = Store.create(disk / "s")
    put(store, 0, 3000)
    put(store, 3000, 3005)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert store.read("BTC/USDT", "1m").fingerprint == bars(0, 3005).fingerprint
    assert store.verify() == []
    with pytest.raises(SourceError, match="Read-only file system"):
        put(store, 3005, 3006)


@pytest.mark.parametrize("limit", [0, 1, 1000, 5000, 30_000])
def test_where_files_cannot_grow_old_bars_stay_whole(tmp_path: Path, limit: int) -> None:
    store = Store.create(tmp_path / "s")
    put(store, 0, 3000)
    put(store, 3000, 3005)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(SourceError, match=r"nothing was changed|cannot write"):
            put(store, 3005, 9000)
        got = store.read("BTC/USDT", "1m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert got.fingerprint == bars(0, 3005).fingerprint
    put(store, 3005, 9000)
    assert store.read("BTC/USDT", "1m").fingerprint == bars(0, 9000).fingerprint
    assert store.verify() == []


@pytest.mark.parametrize("count", [80, pytest.param(240, marks=pytest.mark.slow)])
def test_four_writers_lose_and_double_nothing_and_readers_go_on(tmp_path: Path, count: int) -> None:
    found = crowd(tmp_path / "s", count)
    assert (found.lost, found.wrong, found.reads_that_failed) == (0, 0, 0)
    assert found.longest_s < 1
    assert found.reads > 1
