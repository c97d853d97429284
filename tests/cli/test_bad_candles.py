"""Candles that cannot be used, or only with a note: what each verb says and which exit code it gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.candles.simulate import simulate
from candelabra.sources import write_candles

Rows = list[list[Any]]


def constant(rows: Rows) -> None:
    """A market that stands still."""
    for row in rows:
        row[1:5] = [100.0] * 4


def untraded(rows: Rows) -> None:
    """No volume at all."""
    for row in rows:
        row[5] = 0.0


def not_a_number(rows: Rows) -> None:
    """One close is NaN."""
    rows[100][4] = np.nan


def infinite(rows: Rows) -> None:
    """One open is infinite."""
    rows[100][1] = np.inf


def unsorted(rows: Rows) -> None:
    """Two rows change places."""
    rows[100], rows[200] = rows[200], rows[100]


def conflicting(rows: Rows) -> None:
    """A bar appears twice with different closes."""
    other = list(rows[100])
    other[4] = (other[2] + other[3]) / 2
    rows.insert(101, other)


def repeated(rows: Rows) -> None:
    """A bar appears twice, the same."""
    rows.insert(101, list(rows[100]))


def lawless(rows: Rows) -> None:
    """A high below the low."""
    rows[100][2] = 0.5 * rows[100][3]


def holed(rows: Rows) -> None:
    """Ten days are absent where train ends."""
    del rows[1700:1940]


UNUSABLE = {
    constant: "constant",
    not_a_number: "not finite",
    infinite: "not finite",
    unsorted: "disorder",
    conflicting: "conflicting duplicate",
    lawless: "broken high/low law",
}
NOTED = {untraded: "zero volume", repeated: "identical duplicate", holed: "gap"}
VERBS = (["check"], ["features", "table", "-q"], ["train", "-q"])


@pytest.mark.parametrize("change", UNUSABLE)
def test_check_finds_what_makes_candles_unusable(run: Callable[..., Any], write: Callable[..., Path], change: Any) -> None:
    ran = run("check", write(change), "--json")
    assert ran.code == 1
    assert ran.json["verdict"] == ran.json["series"][0]["verdict"] == "unusable"
    finding = next(f for f in ran.json["series"][0]["findings"] if f["kind"] == UNUSABLE[change])
    assert finding["fatal"]
    shown = run("check", write(change))
    assert shown.code == 1
    assert UNUSABLE[change] in shown.out
    assert "verdict: unusable" in shown.out


@pytest.mark.parametrize("change", NOTED)
def test_check_notes_what_can_be_lived_with(run: Callable[..., Any], write: Callable[..., Path], change: Any) -> None:
    ran = run("check", write(change), "--json")
    assert ran.code == 0
    assert ran.json["series"][0]["verdict"] == "usable with notes"
    assert NOTED[change] in [f["kind"] for f in ran.json["series"][0]["findings"]]


@pytest.mark.parametrize("change", UNUSABLE)
@pytest.mark.parametrize("verb", VERBS[1:], ids=" ".join)
def test_no_verb_learns_from_unusable_candles(
    run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, verb: list[str], change: Any
) -> None:
    ran = run(*verb, write(change))
    assert ran.code == 3
    assert ran.out == ""
    assert UNUSABLE[change] in ran.err
    assert "candelabra check" in ran.err
    assert len(ran.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_rows_that_are_no_candles_are_dropped_on_demand(run: Callable[..., Any], write: Callable[..., Path]) -> None:
    ran = run("features", "table", write(lawless), "--set", "candles.on_bad=drop", "--json")
    assert ran.code == 0
    assert "dropped" in ran.err or "left out" in ran.err


@pytest.mark.parametrize("change", [holed, untraded, repeated])
def test_features_of_imperfect_candles_are_compared_all_the_same(run: Callable[..., Any], write: Callable[..., Path], change: Any) -> None:
    assert run("features", "table", write(change), "-q").code == 0


def few(rows: Rows) -> Rows:
    """Two days."""
    return rows[:50]


def a_month(rows: Rows) -> Rows:
    """Enough for daily bars, too little for a split with features."""
    return rows[:700]


@pytest.mark.parametrize("change", [few, a_month])
@pytest.mark.parametrize("verb", VERBS[1:], ids=" ".join)
def test_too_few_bars_are_counted_in_the_message(
    run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, verb: list[str], change: Any
) -> None:
    ran = run(*verb, write(change))
    assert ran.code == 3
    assert any(sign.isdigit() for sign in ran.err)
    assert not list(tmp_path.glob("runs/*/bundle"))


def test_a_horizon_too_long_for_the_split_is_refused(run: Callable[..., Any], write: Callable[..., Path]) -> None:
    ran = run("train", "-q", write(), "--set", "windows.horizons=24h,60d")
    assert ran.code == 3
    assert "validation" in ran.err or "calibration" in ran.err or "empty" in ran.err


CONTENTS = {
    "empty_BTCUSDT_1h.csv": (b"", 3, "it is empty"),
    "header_BTCUSDT_1h.csv": (b"open_time,open,high,low,close,volume\n", 3, "has no rows"),
    "columns_BTCUSDT_1h.csv": (b"a,b\n1,2\n", 3, "no column for open time"),
    "words_BTCUSDT_1h.csv": (b"open_time,open,high,low,close,volume\n0,hello,2,1,1,1\n3600000,1,2,1,1,1\n", 3, "not numeric"),
    "garbage_BTCUSDT_1h.parquet": (b"PAR1 and then nothing", 3, "not a table"),
    "garbage_BTCUSDT_1h.csv.gz": (b"not gzip", 4, "cannot read"),
    "strange_BTCUSDT_1h.xyz": (b"?", 2, "can be read"),
}


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_holds_no_candles_is_named(run: Callable[..., Any], tmp_path: Path, verb: list[str], name: str) -> None:
    content, code, part = CONTENTS[name]
    (tmp_path / name).write_bytes(content)
    ran = run(*verb, tmp_path / name)
    assert ran.code == code
    assert name in ran.err
    assert part in ran.err


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_file_that_is_absent_is_named(run: Callable[..., Any], write: Callable[..., Path], verb: list[str]) -> None:
    write()
    ran = run(*verb, "BTCUSDT_1m.csv")
    assert ran.code == 4
    assert 'did you mean "BTCUSDT_1h.csv"' in ran.err


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_folder_without_candles_is_named(run: Callable[..., Any], tmp_path: Path, verb: list[str]) -> None:
    (tmp_path / "nothing").mkdir()
    ran = run(*verb, tmp_path / "nothing")
    assert ran.code == 4
    assert "has no files that end in" in ran.err


def test_a_symbol_that_is_not_there_is_named(run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    write()
    write(name="ETHUSDT_1h.csv")
    for verb in VERBS:
        ran = run(*verb, tmp_path, "--symbol", "XRP/USDT")
        assert ran.code in (2, 3)
        assert "XRP/USDT" in ran.err
    ran = run("train", "-q", tmp_path, "--symbol", "ETH/USDT", "--symbol", "BTC/USDC")
    assert ran.code == 2
    assert 'BTC/USDC: did you mean "BTC/USDT"' in ran.err


def test_several_symbols_are_checked_one_by_one(run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    write()
    write(lawless, name="ETHUSDT_1h.csv")
    ran = run("check", tmp_path, "--json")
    assert ran.code == 1
    assert {s["symbol"]: s["verdict"] for s in ran.json["series"]} == {"BTC/USDT": "good", "ETH/USDT": "unusable"}
    assert run("check", tmp_path, "--symbol", "BTCUSDT").code == 0
    assert "1 of 2 series" in run("check", tmp_path).out


def test_one_file_that_cannot_be_read_does_not_end_the_check_of_a_folder(
    run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path
) -> None:
    write()
    (tmp_path / "ETHUSDT_1h.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "prices.csv").write_text((tmp_path / "BTCUSDT_1h.csv").read_text())
    ran = run("check", tmp_path, "--json")
    assert ran.code == 1
    assert ran.json["verdict"] == "unusable"
    assert [s["symbol"] for s in ran.json["series"]] == ["BTC/USDT"]
    assert ["ETHUSDT_1h.parquet" in line for line in ran.json["refused"]] == [True, False]
    assert "--symbol BTC/USDT" in ran.json["refused"][1]
    assert "symbol='" not in ran.json["refused"][1]
    shown = run("check", tmp_path)
    assert shown.code == 1
    assert "verdict: good" in shown.out
    assert "ETHUSDT_1h.parquet" in shown.out
    (tmp_path / "BTCUSDT_1h.csv").unlink()
    ran = run("check", tmp_path, "--json")
    assert (ran.code, ran.out) == (3, "")
    assert "ETHUSDT_1h.parquet" in ran.err
    assert "prices.csv" in ran.err


def test_one_symbol_from_two_venues_is_checked_venue_by_venue(run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    write(name="binance_BTCUSDT_1h.csv")
    write(lawless, name="kraken_BTCUSDT_1h.csv")
    write(name="binance_ETHUSDT_1h.csv")
    ran = run("check", tmp_path, "--json")
    assert ran.code == 1
    assert sorted((Path(s["files"][0]).name, s["verdict"]) for s in ran.json["series"]) == [
        ("binance_BTCUSDT_1h.csv", "good"),
        ("binance_ETHUSDT_1h.csv", "good"),
        ("kraken_BTCUSDT_1h.csv", "unusable"),
    ]
    assert "several places" in ran.json["refused"][0]
    assert "kraken_BTCUSDT_1h.csv): " in run("check", tmp_path).out


def test_a_selection_that_nothing_fits_lists_what_is_there(run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path) -> None:
    write()
    write(name="ETHUSDT_1h.csv")
    ran = run("check", tmp_path, "--symbol", "XRP/USDT")
    assert "no candles of XRP/USDT in " in ran.err
    assert "there are BTC/USDT 1h, ETH/USDT 1h" in ran.err


def test_candles_coarser_than_the_base_are_refused(run: Callable[..., Any], write: Callable[..., Path]) -> None:
    ran = run("train", "-q", write(), "--set", "timeframes.base=15m", "--set", "timeframes.coarse=1h", "--set", "windows.horizons=1h")
    assert ran.code == 2
    assert "15m" in ran.err
    assert "1h" in ran.err


@pytest.mark.parametrize(("step", "count"), [("1d", 900), ("4h", 3000), ("30m", 6000)])
def test_candles_too_coarse_for_the_base_come_with_settings_that_fit_them(
    run: Callable[..., Any], tmp_path: Path, step: str, count: int
) -> None:
    path = write_candles(simulate("BTC/USDT", step, bars=count, seed=2).candles, tmp_path / "x.parquet")
    base = ["--set", "timeframes.base=15m", "--set", "timeframes.coarse=1h"] if step == "30m" else []
    base += ["--set", "timeframes.fine=5m"] if step == "4h" else []
    ran = run("features", "table", path, "-q", *base)
    assert ran.code == 2
    words = re.findall(r"--set timeframes\.base=.*", ran.err)[0].split()
    assert f"timeframes.base={step}" in words
    again = run("features", "table", path, "-q", *words)
    assert again.code == 0, again.err
    again = run("features", "table", path, "-q", *base, *words)
    assert again.code == 0, again.err


def test_a_fine_arm_that_the_candles_cannot_feed_can_be_left_out(run: Callable[..., Any], write: Callable[..., Path]) -> None:
    ran = run("features", "table", write(), "-q", "--set", "timeframes.fine=5m")
    assert ran.code == 2
    words = re.findall(r"--set .*", ran.err)[0].split()
    assert words[1] == "timeframes.fine="
    assert run("features", "table", write(), "-q", "--set", "timeframes.fine=5m", *words).code == 0


def test_no_candles_at_all_is_a_question_of_usage(run: Callable[..., Any]) -> None:
    ran = run("train")
    assert ran.code == 2
    assert "no candles were named" in ran.err
