"""Running verbs as a user does, and candle files good and bad to run them on."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from candelabra.candles.simulate import simulate
from candelabra.cli import main

Rows = list[list[Any]]


@dataclass(frozen=True)
class Ran:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, which must be one JSON document without NaN."""
        return json.loads(self.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Ran]:
    """Run the command line in an empty folder; there is never a traceback."""
    monkeypatch.chdir(tmp_path)
    for name in ("CANDELABRA_DEBUG", "CANDELABRA_DATA", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def run_(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return Ran(code, captured.out, captured.err)

    return run_


@pytest.fixture(scope="session")
def rows() -> Rows:
    """Some 3,000 hours of a simulated market as rows of a CSV file."""
    c = simulate("BTC/USDT", "1h", bars=3000, seed=1).candles
    return [[int(t), *map(float, v)] for t, *v in zip(c.open_time, *c.values(), strict=True)]


@pytest.fixture
def write(tmp_path: Path, rows: Rows) -> Callable[..., Path]:
    """Write the rows, changed by a function, as CSV; the name tells symbol and timeframe."""

    def write_(change: Callable[[Rows], Rows | None] | None = None, name: str = "BTCUSDT_1h.csv") -> Path:
        own = [list(r) for r in rows]
        if change is not None:
            own = change(own) or own
        path = tmp_path / name
        with path.open("w", newline="") as file:
            out = csv.writer(file)
            out.writerow(("open_time", "open", "high", "low", "close", "volume"))
            out.writerows(own)
        return path

    return write_
