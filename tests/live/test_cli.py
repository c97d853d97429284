"""`candelabra live` as a user types it, against an exchange emulated on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

from candelabra.cli import main
from candelabra.live.journal import reading_journal, writing_journal
from candelabra.sources.emulator import EmulatedMarket, Emulator


@pytest.fixture(scope="module")
def exchange() -> Iterator[Emulator]:
    with Emulator(EmulatedMarket("BTC/USDT", seed=3), updates=4500) as emulator:  # one in 0.2 s
        yield emulator


def words(product: Path, exchange: Emulator, folder: Path, *more: str) -> list[str]:
    places = ["--store", str(folder / "store"), "--journal", str(folder / "journal")]
    return ["live", str(product), "--symbols", "BTC/USDT", "--base-url", exchange.url, *places, *more]


@pytest.fixture(scope="module")
def followed(product: Path, exchange: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live")
    assert main(words(product, exchange, folder, "--once", "--quiet")) == 0
    return folder


def test_once_says_the_newest_forecast_and_where_the_journal_is(
    product: Path, exchange: Emulator, followed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    since = time.strftime("%Y-%m-%dT%H:00", time.gmtime(time.time() - 6 * 3600))
    other = followed / "other"
    again = [*words(product, exchange, followed, "--once", "--since", since)]
    again[again.index("--journal") + 1] = str(other)
    assert main(again) == 0
    said = capsys.readouterr()
    lines = [line for line in said.out.splitlines() if "close" in line and "90 %" in line]
    assert len(lines) in (5, 6, 7)
    assert "warming -> live" in said.out
    assert "no real orders" in said.err
    assert "never saw BTC/USDT" in said.err
    assert str(other) in said.err
    assert "closed bars of 1h in the journal" in said.out
    assert main(["live", str(product), "--journal", str(other), "--replay"]) == 0
    assert "every prediction has the same bits" in capsys.readouterr().out


def test_json_lines_replay_and_export(product: Path, exchange: Emulator, followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(product, exchange, followed, "--once", "--json")) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {"kind", "subject", "at_ms"} <= set(events[0])
    assert main(words(product, exchange, followed, "--replay", "--export", str(followed / "all.jsonl"), "--json")) == 0
    rows = [json.loads(line) for line in (followed / "all.jsonl").read_text().splitlines()]
    assert {"predictions", "starts", "bundles"} <= {row["table"] for row in rows}
    with reading_journal(followed / "journal") as journal:
        journal._db.execute("PRAGMA query_only = OFF")
        journal._db.execute("UPDATE predictions SET body = replace(body, '0', '1')")
    capsys.readouterr()
    assert main(words(product, exchange, followed, "--replay")) == 1
    assert "another prediction than the journal's" in capsys.readouterr().out


def test_mistakes_are_told_to_people(product: Path, exchange: Emulator, followed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(code: int, text: str, *more: str) -> None:
        capsys.readouterr()
        assert main(words(product, exchange, followed, *more)) == code
        said = capsys.readouterr().err
        assert text in said
        assert "Traceback" not in said

    refused(2, "leave --schedule and --retrain out", "--once", "--schedule")
    refused(2, "a length above 0", "--retrain", "0d")
    refused(2, "has no live journal", "--replay", "--journal", str(followed / "nowhere"))
    refused(2, 'did you mean "binance"', "--exchange", "binanec", "--once")
    with writing_journal(followed / "journal"):
        refused(4, "is being written by process", "--once")
    wrong = words(product, exchange, followed, "--once")
    wrong[wrong.index("BTC/USDT")] = "BTC/USDC"
    assert main(wrong) == 2
    assert 'did you mean "BTC/USDT"' in capsys.readouterr().err
    assert main(["live", str(followed)]) == 3


@pytest.mark.parametrize("skew_ms", [3_600_000, -3_600_000])
def test_candles_go_by_the_exchanges_time_and_a_clock_that_is_off_is_told(
    skew_ms: int, product: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(EmulatedMarket("BTC/USDT", seed=3), clock_skew_ms=skew_ms) as exchange:
        assert main(words(product, exchange, tmp_path, "--once")) == 0
        newest = exchange.now_ms() // 3_600_000 * 3_600_000
    assert f"clock is 3600 s {'behind' if skew_ms > 0 else 'ahead of'} the exchange's" in capsys.readouterr().out
    with reading_journal(tmp_path / "journal") as journal:
        assert journal.position("BTC/USDT") == newest


def test_ctrl_c_ends_it_cleanly_and_the_same_command_goes_on(product: Path, exchange: Emulator, followed: Path) -> None:
    command = [sys.executable, "-m", "candelabra", *words(product, exchange, followed)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_COLOR": "1"})
    assert child.stdout is not None
    for line in child.stdout:
        if "-> live: its socket speaks" in line:
            break
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "Traceback" not in errors + rest
    assert "the journal is in" in errors
    assert main(words(product, exchange, followed, "--once", "--quiet")) == 0
