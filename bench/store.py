"""Store items: one bar made durable, reads, size, imports; and what is lost under kills, flipped bits and crowds."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench import market
from bench.item import Absent, Goal, Item, Reading, Tool
from bench.timing import cpu_seconds, digest

_RAW_BYTES = 48
"""A bar in memory: open time and five values of 8 bytes."""
_MONTH_BARS = 43_200
_REAL = ("binance_BTCUSDT_1m_2021.parquet", "binance_BTCUSDT_1m_2022.parquet", "binance_BTCUSDT_1m_2023.parquet")
_COLUMNS = ("open", "high", "low", "close", "volume")


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="candelabra-bench-") as name:
        yield Path(name)


def _prices(count: int) -> dict[str, np.ndarray[Any, Any]]:
    """The walk with two decimals in prices and five in volume, as an exchange writes them."""
    return {name: np.round(values, 5 if name == "volume" else 2) for name, values in market.columns(count).items()}


def _minutes(count: int) -> Any:
    from candelabra.candles import Candles

    return Candles.of("WALK/USDT", "1m", market.open_time_ms(count), *(_prices(count)[name] for name in _COLUMNS))


def _table(count: int) -> Any:
    import polars as pl

    return pl.DataFrame({"open_time": market.open_time_ms(count), **_prices(count)})


def _write_months(frame: Any, folder: Path) -> None:
    """Month files as one would write them by hand: zstd, temporary file, sync, rename."""
    import polars as pl

    months = frame.with_columns(pl.from_epoch("open_time", time_unit="ms").dt.strftime("%Y-%m").alias("month"))
    for (name,), part in months.group_by("month", maintain_order=True):
        temporary = folder / f".{name}.part"
        with temporary.open("wb") as file:
            part.drop("month").write_parquet(file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / f"{name}.parquet")


# trust/store/append


def _laps(call: Callable[[int], Any], count: int) -> dict[str, Reading]:
    walls, cpus = [], []
    for number in range(count):
        wall, cpu = time.perf_counter(), time.process_time()
        call(number)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    worst = f"median of {count}; the slowest {1e3 * max(walls):.0f} ms; wall time, since the disk is waited for"
    return {"": Reading(1e3 * statistics.median(walls), "ms", note=worst), "cpu": Reading(1e3 * statistics.median(cpus), "CPU ms")}


def _append(small: bool) -> dict[str, Reading]:
    from candelabra.sources.store import Store

    count = 200_000 if not small else 20_000
    minutes = _minutes(count)
    with _folder() as root:
        store = Store.create(root / "s")
        store.write(minutes.rows(slice(0, count - 500)), exchange="bench", source="walk")
        first = count - 500

        def one(number: int) -> None:
            store.write(minutes.rows(slice(first + number, first + number + 1)), exchange="bench", source="walk")

        one(0)
        laps = _laps(lambda number: one(number + 1), 20 if small else 200)
        assert len(store.read("WALK/USDT", "1m")) == first + 1 + (20 if small else 200)
        return laps


def _append_month_file(small: bool) -> dict[str, Reading]:
    import polars as pl

    frame = _table(_MONTH_BARS)
    with _folder() as root:
        path = root / "month.parquet"

        def one(number: int) -> None:
            whole = pl.concat([pl.read_parquet(path), frame[_MONTH_BARS - 500 + number : _MONTH_BARS - 499 + number]])
            temporary = root / ".month.part"
            with temporary.open("wb") as file:
                whole.write_parquet(file, compression="zstd")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)

        frame[: _MONTH_BARS - 500].write_parquet(path, compression="zstd")
        return _laps(one, 10 if small else 60)


APPEND = Item(
    "trust/store/append",
    "one bar more, acknowledged when it is on the disk",
    {"candelabra": Tool(_append), "month file rewritten": Tool(_append_month_file, ("polars",))},
    (Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 30", absolute=True),),
)


# trust/store/read


def _reads(read: Callable[[int, int], Any], count: int) -> dict[str, Reading]:
    start = market.START_MS + (count // 2) * 60_000
    end = min(start + _MONTH_BARS * 60_000, market.START_MS + count * 60_000)
    seal = digest(*read(start, end))
    return {"": Reading(1e3 * cpu_seconds(lambda: read(start, end), 21), "CPU ms", seal, "30 days of minutes out of four years")}


def _read(small: bool) -> dict[str, Reading]:
    from candelabra.sources.store import Store

    count = market.rows(small)
    with _folder() as root:
        store = Store.create(root / "s")
        store.write(_minutes(count), exchange="bench", source="walk")

        def read(start: int, end: int) -> tuple[Any, ...]:
            got = store.read("WALK/USDT", "1m", start, end)
            return got.open_time, *got.values()

        whole = 1e3 * cpu_seconds(lambda: store.read("WALK/USDT", "1m"), 3)
        return _reads(read, count) | {"all": Reading(whole, "CPU ms", note=f"{count:,} bars")}


def _read_polars(small: bool) -> dict[str, Reading]:
    import polars as pl

    count = market.rows(small)
    with _folder() as root:
        _write_months(_table(count), root)

        def read(start: int, end: int) -> tuple[Any, ...]:
            time_ = pl.col("open_time")
            got = pl.scan_parquet(root / "*.parquet").filter((time_ >= start) & (time_ < end)).collect()
            return tuple(got[name].to_numpy() for name in ("open_time", *_COLUMNS))

        whole = 1e3 * cpu_seconds(lambda: pl.read_parquet(root / "*.parquet"), 3)
        return _reads(read, count) | {"all": Reading(whole, "CPU ms", note="checks nothing")}


READ = Item(
    "trust/store/read",
    "30 days of minutes, every byte of their files compared with its hash",
    {"candelabra": Tool(_read), "polars": Tool(_read_polars, ("polars",))},
    (Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 10", absolute=True),),
    reference="polars",
)


# trust/store/size, trust/store/write


def _real_files() -> list[Path]:
    given = os.environ.get("CANDELABRA_DATA")
    folder = (Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data") / "ohlcv"
    files = [folder / name for name in _REAL]
    if not all(path.is_file() for path in files):
        raise Absent(f"minutes of BTC/USDT on Binance ({', '.join(_REAL)}): set CANDELABRA_DATA to a folder that has them in ohlcv/")
    return files


def _size(small: bool) -> dict[str, Reading]:
    from candelabra.sources import read_candles
    from candelabra.sources.store import Store

    files = _real_files()[: 1 if small else 3]
    with _folder() as root:
        store = Store.create(root / "s")
        bars = 0
        for path in files:
            (candles,) = read_candles(path)
            bars += store.write(candles, exchange="binance", source=path.name).added
        size = sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file())
    note = f"{size / bars:.1f} bytes a bar, all files of the store; raw is {_RAW_BYTES}; {bars:,} bars"
    return {"": Reading(100 * size / (_RAW_BYTES * bars), "% of raw", note=note)}


def _size_polars(small: bool) -> dict[str, Reading]:
    import polars as pl

    frames = [
        pl.read_parquet(path).with_columns(pl.col("timestamp").dt.epoch("ms").alias("open_time"))
        for path in _real_files()[: 1 if small else 3]
    ]
    frame = pl.concat([f.select("open_time", *_COLUMNS) for f in frames])
    with _folder() as root:
        _write_months(frame, root)
        size = sum(path.stat().st_size for path in root.iterdir())
    return {"": Reading(100 * size / (_RAW_BYTES * len(frame)), "% of raw")}


SIZE = Item(
    "trust/store/size",
    "three years of real minutes on the disk, against 48 bytes a bar",
    {"candelabra": Tool(_size), "polars zstd": Tool(_size_polars, ("polars",))},
    (Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 50"),),
    rounds=1,
)


def _write(small: bool) -> dict[str, Reading]:
    from candelabra.sources.store import Store

    minutes = _minutes(50_000 if small else 525_600)
    with _folder() as root:
        number = iter(range(100))

        def whole() -> None:
            Store.create(root / str(next(number))).write(minutes, exchange="bench", source="walk")

        return {"": Reading(1e3 * cpu_seconds(whole, 5), "CPU ms", note=f"{len(minutes):,} bars")}


def _write_polars(small: bool) -> dict[str, Reading]:
    frame = _table(50_000 if small else 525_600)
    with _folder() as root:
        return {
            "": Reading(1e3 * cpu_seconds(lambda: _write_months(frame, root), 5), "CPU ms", note="no manifest, no hash, no page checksums")
        }


WRITE = Item(
    "trust/store/write",
    "a year of minutes into an empty store",
    {"candelabra": Tool(_write), "polars zstd": Tool(_write_polars, ("polars",))},
)


# trust/store/kills, /flips, /writers


def _kills(small: bool) -> dict[str, Reading]:
    from candelabra.testing.store_faults import kill_writers

    with _folder() as root:
        found = kill_writers(root / "s", 5 if small else 50, seed=11)
    bad = found.unreadable + found.lost + found.wrong + found.findings
    return {"": Reading(bad, "unreadable, lost or wrong", note=", ".join(f"{k} {v}" for k, v in asdict(found).items()))}


def _flips(small: bool) -> dict[str, Reading]:
    from candelabra.testing.stores import answers, damaged, example_store, outcome, repaired_wrongly

    count = 40 if small else 1000
    told = {"detected": 0, "harmless": 0, "silent": 0}
    unrepaired = 0
    with _folder() as root:
        store = example_store(root / "s")
        truth, candles = answers(store), store.read("BTC/USDT", "1m")
        for damage in damaged(store, root, count, seed=11):
            what, _ = outcome(damage, truth)
            told[what] += 1
            unrepaired += bool(repaired_wrongly(damage, candles))
    note = ", ".join(f"{k} {v}" for k, v in told.items()) + "; each fifth is a truncation"
    return {"": Reading(told["silent"], "silent", note=note), "repair": Reading(unrepaired, "repaired wrongly", note=f"of {count}")}


def _writers(small: bool) -> dict[str, Reading]:
    from candelabra.testing.store_faults import crowd

    with _folder() as root:
        found = crowd(root / "s", 80 if small else 600)
    bad = found.lost + found.wrong + found.reads_that_failed
    longest = Reading(found.longest_s, "s", note=f"{found.refusals} refusals")
    return {"": Reading(bad, "lost, doubled or misread", note=", ".join(f"{k} {v}" for k, v in asdict(found).items())), "refusal": longest}


KILLS = Item(
    "trust/store/kills",
    "50 writers killed with -9 at random moments, folding all the time",
    {"candelabra": Tool(_kills)},
    (Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),),
    rounds=1,
)
FLIPS = Item(
    "trust/store/flips",
    "1,000 bits flipped and files cut off in data, manifest and tail",
    {"candelabra": Tool(_flips)},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),
        Goal("candelabra", "repair", lambda v: v["candelabra"]["repair"], "<= 0"),
    ),
    rounds=1,
)
WRITERS = Item(
    "trust/store/writers",
    "four processes write one series bar by bar while a fifth reads",
    {"candelabra": Tool(_writers)},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),
        Goal("candelabra", "refusal", lambda v: v["candelabra"]["refusal"], "<= 1"),
    ),
    rounds=1,
)

ITEMS = (APPEND, READ, SIZE, WRITE, KILLS, FLIPS, WRITERS)
