"""``doctor``: is this machine fit to run candelabra, and what to do where it is not?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from candelabra.cli.console import emit_json, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.options import AsJson

__all__ = ["Line", "doctor", "examine"]

State = Literal["ok", "note", "wrong"]
_LIBRARIES: Final = (
    "numpy", "scipy", "numba", "pyarrow", "narwhals", "TA-Lib", "torch", "transformers", "safetensors", "onnx", "onnxruntime", "lightgbm",
    "pydantic", "tomlkit", "plotly", "python-statemachine", "typer", "rich",
)  # fmt: skip
_OPTIONAL: Final = {"arch": "the GARCH baseline", "tensorboard": "training.tensorboard"}
_LEAST_BYTES: Final = 1_000_000_000


@dataclass(frozen=True)
class Line:
    """One thing looked at: what was found, whether it is ``ok``, worth a ``note`` or ``wrong``, and what to do."""

    what: str
    state: State
    found: str
    do: str = ""


def doctor(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FOLDER", help="A folder of candles to look at (default: CANDELABRA_DATA).")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Look at Python, libraries, cores, precision, compiler, disk and data. Exit code 1 when something is wrong."""
    lines = examine(data)
    wrong = sum(line.state == "wrong" for line in lines)
    if as_json:
        emit_json("doctor", {"ok": not wrong, "lines": [asdict(line) for line in lines]})
        return EXIT_FINDINGS if wrong else 0
    from rich.text import Text

    style = {"ok": "green", "note": "yellow", "wrong": "bold red"}
    out().print(table(("", "what", "found", "what to do"), [(Text(x.state, style=style[x.state]), x.what, x.found, x.do) for x in lines]))
    out().print(f"{wrong} things are wrong" if wrong > 1 else "1 thing is wrong" if wrong else "nothing is wrong")
    return EXIT_FINDINGS if wrong else 0


def examine(data: Path | None = None) -> list[Line]:
    """Every line of the doctor's report; a check that fails is itself a line."""
    lines: list[Line] = []
    checks: tuple[Callable[[], Iterator[Line]], ...] = (_python, _libraries, _cores, _precision, _compiler, _disk, _telemetry)
    for name, check in [*((c.__name__.strip("_"), c) for c in checks), ("data", lambda: _data(data))]:
        try:
            lines += check()
        except Exception as error:  # a doctor that falls ill is no help: say so and go on
            lines.append(Line(name, "wrong", f"{type(error).__name__}: {error}", "reinstall candelabra in a fresh environment"))
    return lines


def _python() -> Iterator[Line]:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    fits = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield Line("Python", "ok" if fits else "wrong", found, "" if fits else "use Python 3.11, 3.12 or 3.13")


def _libraries() -> Iterator[Line]:
    found, absent = [], []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            absent.append(name)
    yield Line("libraries", "ok", ", ".join(found))
    if absent:
        yield Line("libraries absent", "wrong", ", ".join(absent), "pip install --force-reinstall candelabra")
    for name, purpose in _OPTIONAL.items():
        try:
            yield Line(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            extra = "baselines" if name == "arch" else name
            yield Line(name, "note", f"not installed: no {purpose}", f"pip install 'candelabra[{extra}]'")


def _cores() -> Iterator[Line]:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = ", ".join(f"{n}={os.environ[n]}" for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS") if n in os.environ)
    yield Line(
        "cores",
        "ok",
        f"{usable} usable of {os.cpu_count()}, torch uses {torch.get_num_threads()} threads" + (f" ({limits})" if limits else ""),
    )
    if torch.cuda.is_available():
        yield Line("GPU", "ok", torch.cuda.get_device_name(0))
    else:
        yield Line("GPU", "ok", "none: the CPU is used, which the default sizes are made for")


def _precision() -> Iterator[Line]:
    from candelabra.training.precision import choose_precision

    begun = time.perf_counter()
    chosen = choose_precision("auto")
    yield Line("precision", "ok", f"{chosen} (probe of {1000 * (time.perf_counter() - begun):.0f} ms)")


def _compiler() -> Iterator[Line]:
    named = os.environ.get("CXX")
    found = next((path for name in (named, "c++", "g++", "clang++", "cl") if name and (path := shutil.which(name))), None)
    if found:
        yield Line("C++ compiler", "ok", found)
    else:
        yield Line("C++ compiler", "note", 'none: training.compile = "on" cannot work', "install g++, or leave training.compile off")


def _disk() -> Iterator[Line]:
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    enough = free >= _LEAST_BYTES
    yield Line("disk", "ok" if enough else "wrong", f"{free / 1e9:.1f} GB free in {here}", "" if enough else "free 1 GB or run elsewhere")
    if os.access(here, os.W_OK):
        yield Line("working folder", "ok", f"{here} is writable")
    else:
        yield Line("working folder", "wrong", f"{here} is not writable", "change to a folder you may write to")


def _telemetry() -> Iterator[Line]:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    yield Line("telemetry", "ok", "onnxruntime's is switched off")


def _data(folder: Path | None) -> Iterator[Line]:
    named = folder or (Path(os.environ["CANDELABRA_DATA"]) if os.environ.get("CANDELABRA_DATA") else None)
    if named is None:
        yield Line("data", "ok", "no folder named: commands read the paths they are given")
    elif not named.is_dir():
        yield Line("data", "wrong", f"there is no folder {named}", "name one that exists with --data or CANDELABRA_DATA")
    elif not os.access(named, os.R_OK | os.X_OK):
        yield Line("data", "wrong", f"{named} cannot be read", "give yourself the right to read it")
    else:
        endings = (".csv", ".gz", ".zip", ".parquet", ".pq", ".feather", ".arrow")
        count = sum(p.suffix.lower() in endings for p in named.rglob("*"))
        yield Line("data", "ok" if count else "note", f"{count} candle files in {named}", "" if count else "put candle files there")
