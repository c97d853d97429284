"""``import`` and ``check --against`` as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candelabra.candles import Candles, simulate
from candelabra.sources import write_candles
from candelabra.sources.store import Store
from candelabra.testing import written

TRUTH = simulate("BTC/USDT", "1h", bars=300, seed=5).candles


@pytest.fixture
def klines(tmp_path: Path) -> Path:
    """A month of Binance Vision in a folder of its own."""
    name, content = written("binance", TRUTH)
    (tmp_path / "down").mkdir()
    (tmp_path / "down" / name).write_bytes(content)
    return tmp_path / "down"


def test_import_fills_a_store_that_is_made_and_tells_the_books(run: Callable[..., Any], klines: Path, tmp_path: Path) -> None:
    ran = run("import", klines, "--into", "store", "-q")
    assert ran.code == 0
    assert "300 rows = 300 kept + 0 rejected" in ran.out
    assert "300 new" in ran.out
    assert Store.open(tmp_path / "store").read("BTC/USDT", "1h").bar.tolist() == TRUTH.bar.tolist()
    ran = run("import", klines, "--into", "store", "--json", "-q")
    assert ran.json["series"][0]["before"] is True
    assert ran.json["command"] == "import"


def test_a_dry_run_makes_nothing(run: Callable[..., Any], klines: Path, tmp_path: Path) -> None:
    ran = run("import", klines, "--into", "store", "--dry-run")
    assert ran.code == 0
    assert "300 would be" in ran.out
    assert not (tmp_path / "store").exists()


def test_rejected_rows_are_named_and_listed_and_the_exit_code_says_findings(run: Callable[..., Any], klines: Path, tmp_path: Path) -> None:
    (path,) = klines.iterdir()
    lines = path.read_text().splitlines()
    lines[9] = lines[9].replace(",", ",-", 1)
    path.write_text("\n".join(lines))
    ran = run("import", klines, "--into", "store", "-q")
    assert ran.code == 1
    assert f"{path}, line 10, 2020-01-01 09:00: broken high/low law" in ran.out.replace("\n", "")
    (listed,) = (tmp_path / "store" / ".imports").glob("rejected-*.jsonl")
    assert json.loads(listed.read_text())["line"] == 10
    ran = run("import", klines, "--dry-run", "--most-rejected", "0", "--json", "-q")
    assert "more than 0.00%" in ran.json["series"][0]["refused"]


def test_what_the_user_tells_is_used(run: Callable[..., Any], tmp_path: Path) -> None:
    rows = [f"{t + 3_600_000}|{o}|{h}|{low}|{c}|{v}" for t, o, h, low, c, v in zip(TRUTH.open_time, *TRUTH.values(), strict=True)]
    (tmp_path / "data.txt").write_text("\n".join(["when|a|b|c|d|e", *rows]))
    told = ["--exchange", "X1", "--symbol", "btcusdt", "--stamps", "close"]
    for role, name in zip(("open_time", "open", "high", "low", "close", "volume"), ("when", *"abcde"), strict=True):
        told += ["--map", f"{role}={name}"]
    ran = run("import", "data.txt", "--into", "store", *told, "-q")
    assert ran.code == 0, ran.err
    stored = Store.open(tmp_path / "store").read("BTC/USDT", "1h", exchange="x1")
    assert stored.open_time.tolist() == TRUTH.open_time.tolist()
    assert "stamped at their end" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--into STORE"),
        (["--into", "down"], "other things in it than a store"),
        (["--dry-run", "--format", "binanse"], "did you mean"),
        (["--dry-run", "--map", "open_time"], "write ROLE=COLUMN"),
        (["--dry-run", "--map", "opn=x"], "nothing a column can be"),
        (["--dry-run", "--stamps", "middle"], "open, close or month-end"),
        (["--dry-run", "--time-zone", "Mars"], "no time zone"),
        (["--dry-run", "--most-rejected", "7"], "between 0 and 1"),
        (["--dry-run", "--timeframe", "1x"], "not a timeframe"),
        (["--dry-run", "--format", "kraken"], "does not have the form kraken"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(run: Callable[..., Any], klines: Path, arguments: list[str], message: str) -> None:
    ran = run("import", klines, *arguments, "-q")
    assert ran.code in (1, 2)
    assert message in (ran.err + ran.out).replace("\n", " ")


def test_progress_and_notes_go_to_stderr(run: Callable[..., Any], klines: Path) -> None:
    ran = run("import", klines, "--dry-run", "--json")
    assert "import binance BTC/USDT" in ran.err
    assert ran.json["books"]["kept"] == 300


def test_check_holds_a_source_against_another(run: Callable[..., Any], tmp_path: Path) -> None:
    real = Candles.of("BTC/USDT", "1h", TRUTH.open_time, *TRUTH.values())
    other = simulate("BTC/USDT", "1h", bars=300, seed=6).candles
    write_candles(real, tmp_path / "a.parquet")
    write_candles(other, tmp_path / "b.parquet")
    ran = run("check", "a.parquet", "--against", "a.parquet")
    assert ran.code == 0
    assert "the same candles" in ran.out
    ran = run("check", "a.parquet", "--against", "b.parquet", "--json")
    assert ran.code == 1
    assert ran.json["against"][0]["verdict"] == "not the same market"


def test_the_verbs_read_the_forms_that_import_reads(run: Callable[..., Any], tmp_path: Path) -> None:
    name, content = written("binance zip", simulate("BTC/USDT", "1h", bars=3000, seed=1).candles)
    (tmp_path / name).write_bytes(content)
    ran = run("check", name, "--json")
    assert ran.code == 0
    assert ran.json["series"][0]["bars"] == 3000
    ran = run("features", "table", name, "-q", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["symbol"] == "BTC/USDT"
