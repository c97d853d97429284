"""One year of one-minute bars as CSV: read and checked, and brought into a store, against polars doing the plain part of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench import market
from bench.item import Goal, Item, Reading, Tool
from bench.timing import cpu_seconds, digest

_YEAR = 525_600
_HERE = Path(__file__).resolve().parents[1]
_REPEATS = 5
_NAMES = ("open_time", "open", "high", "low", "close", "volume")


def _rows(small: bool) -> int:
    return 50_000 if small else _YEAR


@contextmanager
def _file(rows: int, form: str) -> Iterator[Path]:
    """A CSV file: ``plain`` (six columns with a header) or ``binance`` (twelve without)."""
    import pyarrow as pa
    import pyarrow.csv

    c = market.columns(rows)
    time = market.open_time_ms(rows)
    # Prices of an exchange have a tick; a random walk's sixteen digits would be another kind of file.
    columns: dict[str, Any] = {"open_time": time} | {n: np.round(c[n], 2) for n in _NAMES[1:5]} | {"volume": np.round(c["volume"], 5)}
    if form == "binance":
        quote = np.round(columns["volume"] * columns["close"], 4)
        columns |= {"close_time": time + 59_999, "quote": quote, "trades": np.arange(rows) % 900}
        columns |= {"taker": np.round(columns["volume"] / 2, 5), "taker_quote": np.round(quote / 2, 4), "ignore": np.zeros(rows, np.int64)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "WALKUSDT-1m-2021.csv"
        pyarrow.csv.write_csv(pa.table(columns), path, pyarrow.csv.WriteOptions(include_header=form == "plain"))
        yield path


def _sealed(columns: Any) -> str:
    return digest(*columns)


def _read(form: str) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        from candelabra.sources import read_candles

        with _file(_rows(small), form) as path:
            (got,) = read_candles(path)
            seconds = cpu_seconds(lambda: read_candles(path), _REPEATS)
            size = path.stat().st_size
        note = f"{len(got):,} bars, {size / 1e6:.0f} MB: read, and every row checked"
        return {"": Reading(seconds * 1e3, "CPU ms", _sealed((got.open_time, *got.values())), note)}

    return run


def _polars_read(form: str) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        import polars as pl

        header = form == "plain"
        with _file(_rows(small), form) as path:
            frame = pl.read_csv(path, has_header=header)
            seconds = cpu_seconds(lambda: pl.read_csv(path, has_header=header), _REPEATS)
        seal = _sealed([frame[name].to_numpy() for name in frame.columns[:6]])
        return {"": Reading(seconds * 1e3, "CPU ms", seal, "read, nothing checked")}

    return run


def _import_once(path: Path, root: Path) -> Any:
    from candelabra.sources.importing import Wishes, import_files
    from candelabra.sources.store import Store

    store = Store.create(root)
    report = import_files(path, store, Wishes(exchange="walk"))
    assert report.clean
    assert report.books.balanced
    return store


def _peak_of_a_process(path: Path) -> float:
    """Largest resident memory (MB) of a process that does nothing but the import; growth inside one process hides in what it has freed."""
    code = (
        "import resource, sys; from pathlib import Path; from bench.importing import _import_once; "
        "_import_once(Path(sys.argv[1]), Path(sys.argv[1]).parent / 'own'); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True, cwd=_HERE)
    shutil.rmtree(path.parent / "own")
    return int(done.stdout) * 1024 / 1e6


def _import(form: str) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        peaks = {}
        for years in (1, 4):
            with _file(years * _rows(small), form) as path:
                peaks[years] = _peak_of_a_process(path)
        with _file(_rows(small), form) as path:
            numbers = iter(range(100))
            seconds = cpu_seconds(lambda: _import_once(path, path.parent / f"s{next(numbers)}"), _REPEATS)
            stored = _import_once(path, path.parent / "last").read("WALK/USDT", "1m")
        return {
            "": Reading(
                seconds * 1e3, "CPU ms", _sealed((stored.open_time, *stored.values())), "into a new store, read back for the checksum"
            ),
            "peak": Reading(peaks[1], "MB", note="largest memory of a process that imports one year, libraries included"),
            "peak of four years": Reading(peaks[4], "MB", note="the same for four times the rows"),
        }

    return run


def _polars_write(form: str) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        import polars as pl

        header = form == "plain"
        with _file(_rows(small), form) as path:
            out = path.parent / "out.parquet"

            def both() -> None:
                pl.read_csv(path, has_header=header).write_parquet(out, compression="zstd")

            seconds = cpu_seconds(both, _REPEATS)
            back = pl.read_parquet(out)
        seal = _sealed([back[name].to_numpy() for name in back.columns[:6]])
        return {"": Reading(seconds * 1e3, "CPU ms", seal, "read_csv and write_parquet(zstd), nothing checked")}

    return run


def _over(rival: str) -> Callable[[Any], float]:
    return lambda v: float(v["candelabra"][""] / v[rival][""])


def _read_item(form: str, about: str) -> Item:
    return Item(
        f"trust/import-read-{form}",
        f"one year of 1m bars from CSV, {about}: parse and validate",
        {"candelabra": Tool(_read(form)), "polars read_csv": Tool(_polars_read(form), ("polars",))},
        (Goal("candelabra", "", _over("polars read_csv"), "<= 2"),),
        reference="polars read_csv",
    )


def _import_item(form: str, about: str) -> Item:
    return Item(
        f"trust/import-{form}",
        f"one year of 1m bars from CSV, {about}: the whole import into a store",
        {"candelabra": Tool(_import(form)), "polars read + zstd write": Tool(_polars_write(form), ("polars",))},
        (
            Goal("candelabra", "", _over("polars read + zstd write"), "<= 2.5"),
            Goal("candelabra", "peak of four years", lambda v: v["candelabra"]["peak of four years"] / v["candelabra"]["peak"], "<= 1.5"),
        ),
        reference="polars read + zstd write",
    )


_FORMS = {"plain": "six columns", "binance": "Binance's twelve columns"}
ITEMS = (*(_read_item(*form) for form in _FORMS.items()), *(_import_item(*form) for form in _FORMS.items()))
