"""``candelabra audit``: what it takes, what it says, and its exit codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MINE = """
import numpy as np
import pandas as pd

def clean(candles):
    return {"body": np.log(candles.close / candles.open)}

def leaky(df: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame({"open_time": df["open_time"], "sma": df["close"].rolling(7, center=True).mean()})

def late(candles):
    return {"signal": np.append(np.nan, candles.close[:-1])}

def broken(candles):
    return candles["Close"]

NUMBER = 3
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_functions_are_audited_from_files_and_modules(run: Callable[..., Any], mine: Path, write: Callable[..., Path]) -> None:
    path = write()
    done = run("audit", "mine.py:clean", "feature:rsi(14)", "--candles", path, "--quiet", "--bars", "800")
    assert done.code == 0
    assert "no leak, nothing stale" in done.out
    found = run("audit", "mine.py:leaky", "mine.py:late", "--candles", path, "--json", "--html", "page.html", "--bars", "800", "--quiet")
    assert found.code == 1
    leak, late = (a["findings"] for a in found.json["audits"])
    assert (leak[0]["column"], leak[0]["bars"], leak[0]["law"]) == ("sma", 3, "future")
    assert "sma at 2020-" in leak[0]["words"]
    assert [f["words"] for f in late] == ["signal is 1 bar late (1h)"]
    page = (mine.parent / "page.html").read_text()
    assert "reads 3 bars ahead" in page
    assert "<script" not in page
    assert run("audit", "mine.py:late", "--late", "signal=1", "--candles", path, "--quiet", "--bars", "800").code == 0
    assert run("audit", "mine.py:late", "--fresh", "no", "--candles", path, "--quiet", "--bars", "800").code == 0


def test_a_catalog_on_one_timeframe_notes_what_these_candles_cannot_make(run: Callable[..., Any], write: Callable[..., Path]) -> None:
    done = run("audit", "feature:all", "--candles", write(), "--json", "--quiet", "--bars", "1500")
    assert done.code == 0
    blank = {a["subject"] for a in done.json["audits"] if not a["tried"]}
    assert blank == {"fine_log_rv(5m,24)", "rel_fine_log_rv(5m,24)"}
    assert len(done.json["audits"]) > 50


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["mine.py:leeky"], 2, 'did you mean "leaky"'),
        (["mine.py:NUMBER"], 2, "not a function that takes candles"),
        (["nowhere.py:leaky"], 2, "there is no file nowhere.py"),
        (["no_such_module_here:leaky"], 2, "there is no module 'no_such_module_here'"),
        (["nothing"], 2, "there is no 'nothing'"),
        (["."], 2, "a bundle is audited on candles of its market"),
        (["feature:rsj(14)"], 2, 'did you mean "rsi"'),
        (["model:harr"], 2, "unknown model 'harr'"),
        (["mine.py:broken"], 2, "raised TypeError on the candles as they are"),
        (["mine.py:clean", "--late", "x"], 2, "is not COLUMN=BARS"),
        (["mine.py:clean", "--as", "excel"], 2, "not 'excel'"),
        (["mine.py:clean", "--fresh", "maybe"], 2, "each, any or no"),
    ],
)
def test_what_cannot_be_is_said_in_words(run: Callable[..., Any], mine: Path, arguments: list[str], code: int, words: str) -> None:
    done = run("audit", *arguments, "--quiet")
    assert done.code == code
    assert words in done.err


def test_pieces_of_regimes_are_audited_by_their_names(run: Callable[..., Any]) -> None:
    done = run("audit", "decoder:all", "--quiet", "--bars", "400", "--json")
    assert done.code == 0
    assert len(done.json["audits"]) == 8
    assert all(one["tried"] for one in done.json["audits"])
    wrong = run("audit", "decoder:hysterisis", "--quiet")
    assert (wrong.code, 'did you mean "hysteresis"' in wrong.err) == (2, True)
