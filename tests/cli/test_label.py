"""``label``: labels are made of candles, checked, and refused with row and remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from candelabra.regimes.learning_files import read_learning_set

BAD = """symbol,timeframe,start,end,label
BTC/USDT,1h,2024-01-01,2024-01-02,bullish
BTC/USDT,1h,2024-01-01T12:00,2024-01-03,bearish
BTC/USDT,1h,2024-01-05,2024-01-04,bearish
"""


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_labels_are_made_at_several_timeframes_and_checked(run: Callable[..., Any], write: Callable[..., Path], ending: str) -> None:
    candles = write()
    words = ("--method", "centred_window", "--timeframe", "1h,4h", "--set", "trend=0.8", "--set", "4h.window=20", "--out", f"set.{ending}")
    made = run("label", "make", candles, *words, "--json", "-q")
    assert made.code == 0
    assert [(one["symbol"], one["timeframe"]) for one in made.json["segmentations"]] == [("BTC/USDT", "1h"), ("BTC/USDT", "4h")]
    assert made.json["reads"] == "at most 39 bars"
    checked = run("label", "check", f"set.{ending}", "--candles", candles, "--json")
    assert checked.code == 0, checked.out
    told = checked.json
    assert told["verdict"] == "few segments"
    assert told["fingerprint"] == made.json["fingerprint"]
    assert told["purge_ms"] == made.json["purge_ms"]
    assert {one["annotator"] for one in told["segmentations"]} == {"centred_window"}
    shown = run("label", "check", f"set.{ending}", "--candles", candles)
    assert "verdict: few segments" in shown.out
    assert "centred_window" in shown.out
    assert shown.err == ""
    assert "by centred_window" in run("label", "make", candles, *words, "-q").out


def test_findings_give_exit_code_1_with_row_and_remedy_and_the_good_rows_can_be_kept(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(BAD)
    ran = run("label", "check", "bad.csv", "--out", "good.csv")
    assert ran.code == 1
    assert "bad.csv: line 3: bearish of BTC/USDT 1h overlaps line 2 (bullish)" in ran.out
    assert "line 4" in ran.out
    assert "verdict: unusable" in ran.out
    assert "written: good.csv (1 segments)" in ran.out
    assert len(read_learning_set(tmp_path / "good.csv")) == 1
    told = run("label", "check", "bad.csv", "--json", "--labels", "bullish").json
    assert [(f["kind"], f["row"]) for f in told["findings"] if f["row"]] == [("unknown label", 3)]
    assert told["findings"][0]["remedy"]


def test_the_time_zone_is_seen_and_can_be_told(run: Callable[..., Any], tmp_path: Path) -> None:
    rows = [f"2024-0{m}-01T00:00:00+02:00,2024-0{m}-05T00:00:00+02:00,{'up' if m % 2 else 'down'}" for m in range(1, 7)]
    (tmp_path / "BTCUSDT_1d.csv").write_text("\n".join(["start,end,label", *rows]))
    ran = run("label", "check", "BTCUSDT_1d.csv")
    assert ran.code == 1
    assert "22 h after a bar of 1d opens" in ran.out
    assert "--time-zone" in ran.out
    (tmp_path / "ETHUSDT_1d.csv").write_text(
        "start,end,label\n2024-01-01 01:00,2024-01-05 01:00,up\n2024-02-01 01:00,2024-02-05 01:00,down\n"
    )
    assert run("label", "check", "ETHUSDT_1d.csv").code == 1
    assert run("label", "check", "ETHUSDT_1d.csv", "--time-zone", "Europe/Berlin").code == 0
    assert run("label", "check", "ETHUSDT_1d.csv", "--time-zone", "Mars/Base").code == 2


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["make", "CANDLES", "--method", "trend_scam", "--out", "x.csv"], 2, "trend_scan"),
        (["make", "CANDLES", "--method", "zigzag", "--set", "thresh=2", "--out", "x.csv"], 2, "threshold"),
        (["make", "CANDLES", "--method", "zigzag", "--set", "threshold", "--out", "x.csv"], 2, "KEY=VALUE"),
        (["make", "CANDLES", "--method", "zigzag", "--set", "4h.threshold=2", "--out", "x.csv"], 2, "not among the timeframes"),
        (["make", "CANDLES", "--timeframe", "15m", "--out", "x.csv"], 2, "cannot be made of its 1h candles"),
        (["make", "CANDLES", "--timeframe", "1w", "--out", "x.csv"], 3, "needs 160 for its first label"),
        (["make", "CANDLES", "--out", "x.txt"], 2, "call the file x.csv"),
        (["make", "absent.csv", "--out", "x.csv"], 4, "absent.csv"),
        (["make", "CANDLES"], 2, "--out"),
        (["check", "absent.csv"], 4, "name a file of labels"),
        (["check", "CANDLES"], 3, "holds candles"),
        (["check", "labels.csv", "--shares", "1,2"], 0, ""),
        (["check", "labels.csv", "--candles", "CANDLES", "--shares", "a"], 2, "four numbers"),
        (["check", "labels.csv", "--opposite", "up"], 2, "up:down"),
        (["check", "labels.csv", "--form", "bar"], 2, "bars"),
    ],
)
def test_what_cannot_be_is_refused_on_one_line(
    run: Callable[..., Any], write: Callable[..., Path], tmp_path: Path, words: list[str], code: int, part: str
) -> None:
    candles = write(name="BTCUSDT_1h.csv")
    (tmp_path / "labels.csv").write_text(
        "symbol,timeframe,start,end,label\nBTC/USDT,1h,2024-01-01,2024-01-02,up\nBTC/USDT,1h,2024-01-02,2024-01-03,down\n"
    )
    ran = run("label", *(str(candles) if word == "CANDLES" else word for word in words), *(["-q"] if words[0] == "make" else []))
    assert ran.code == code, ran.out + ran.err
    assert part in ran.err
    assert len(ran.err.splitlines()) <= 1


def test_methods_are_listed_with_what_they_read(run: Callable[..., Any]) -> None:
    told = {one["name"]: one for one in run("label", "methods", "--json").json["methods"]}
    assert told["trend_scan"]["reads"] == "at most 64 bars"
    assert "bry_boschan" in run("label", "methods").out


def test_a_label_studio_export_is_checked(run: Callable[..., Any], tmp_path: Path) -> None:
    value = {"start": 1_704_067_200_000, "end": 1_704_081_600_000, "instant": False, "timeserieslabels": ["up"]}
    later = value | {"start": 1_704_085_200_000, "end": 1_704_096_000_000, "timeserieslabels": ["down"]}
    result = [{"type": "timeserieslabels", "value": v, "from_name": "label", "to_name": "ts"} for v in (value, later)]
    task = {"id": 1, "data": {"csv": "BTCUSDT_1h.csv"}, "annotations": [{"completed_by": 4, "result": result}], "predictions": [{}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    ran = run("label", "check", "export.json", "--json")
    assert ran.code == 0
    assert (ran.json["form"], ran.json["rows"]) == ("label-studio", 2)
    assert "predictions" in ran.json["notes"][0]
    assert ran.json["segmentations"][0]["bars"] == 9


def test_every_labeller_passes_the_audit(run: Callable[..., Any], write: Callable[..., Path]) -> None:
    candles = write(lambda rows: rows[:600])
    ran = run("audit", "labeller:zigzag", "labeller:centred_window", "--candles", candles, "--json", "-q")
    assert ran.code == 0, ran.out
    assert [one["subject"] for one in ran.json["audits"]] == ["labeller zigzag", "labeller centred_window"]
    assert run("audit", "labeller:zigzg", "--candles", candles, "-q").code == 2
