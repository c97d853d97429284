"""``fetch`` as a user meets it: mistakes have an answer, a killed run goes on, no secret is shown."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from candelabra.cli import main
from candelabra.errors import CandelabraError
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults
from candelabra.sources.exchanges import keeping, rules
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.store import Store

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

MINUTE = 60_000
NOW = 1_700_000_005_000
MARKETS = [EmulatedMarket("BTC/USDT", seed=7), EmulatedMarket("ETH/USDT", seed=8), EmulatedMarket("BTC/USDT:USDT", seed=9)]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(MARKETS, clock=FastClock(NOW, rate=1.0), calls_per_second=math.inf) as running:
        yield running


def test_candles_come_and_the_last_line_says_where_they_are(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    call = ["fetch", "binance", "BTCUSDT", "BTC/USDT:USDT", "--since", "2023-11-14T12:00", "--base-url", emulator.url]
    assert main(call) == 0
    said = capsys.readouterr()
    assert "614 new, 0 known" in said.out.replace("613", "614")
    assert "candelabra check candles" in said.out
    assert "candles per s" in said.err
    assert "s behind binance's" not in said.err
    assert "ahead of binance's" in said.err
    assert main([*call[:3], "--base-url", emulator.url, "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"], told["series"][0]["symbol"], told["failed"]) == ("fetch", "BTC/USDT", [])
    assert main(["store", "verify", "candles"]) == 0
    assert main(["check", "candles", "--timeframe", "1h"]) == 0
    assert Store.open("candles").read("BTC/USDT:USDT", "1m").simulated


def test_funding_rates_come_beside_the_candles(emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["fetch", "binance", "BTC/USDT:USDT", "--since", "2023-11-14", "--funding", "--base-url", emulator.url, "--quiet", "--store"]
    assert main([*call, str(tmp_path / "a")]) == 0
    assert "BTC/USDT:USDT: 3 funding rates up to 2023-11-14 16:00" in capsys.readouterr().out
    both = [*call[:2], "BTC/USDT", *call[2:], str(tmp_path / "both")]
    assert main([one for one in both if one != "--quiet"]) == 0, "what is traded on the spot beside it is no mistake"
    assert "BTC/USDT is traded on the spot: nobody pays funding" in capsys.readouterr().err
    assert main([*call[:2], "BTC/USDT", *call[3:], str(tmp_path / "a")]) == 2
    assert "is no perpetual" in capsys.readouterr().err


def test_mistakes_are_answered(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    new = ["--since", "2023-11-14T12:00", "--base-url", emulator.url, "--quiet"]
    for arguments, code, text in (
        (["binanse", "BTC/USDT", *new], 2, 'did you mean "binance"?'),
        (["binance", "BTC/USDR", *new], 2, 'binance has no BTC/USDR: did you mean "BTC/USDT"?'),
        (["binance", "BTC/USDT", "--since", "yesterday"], 2, "--since = 'yesterday' is not a date"),
        (["binance", "BTC/USDT", "--since", "2023-01-01", "--until", "2022-01-01"], 2, "is not before --until"),
        (["binance", "BTC/USDT", "--timeframe", "5T", *new], 2, "is not a timeframe"),
        (["binance", "BTC/USDT", "--timeframe", "7m", *new], 2, "fetch one of 1s, 1m"),
        (["binance", "BTC/USDT", "--base-url", emulator.url], 2, "say from when (--since"),
        (["binance", "BTC/USDT", "--store", "full", *new], 2, "has other things in it than a store"),
        (["binance", "BTC/USDT", "--base-url", "somewhere", "--since", "2023-01-01"], 2, "write http://host:port"),
    ):
        assert main(["fetch", *arguments]) == code, arguments
        assert text in capsys.readouterr().err


def test_an_exchange_that_refuses_is_exit_code_4_and_a_good_symbol_is_not_held_up_by_a_bad_one(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["fetch", "binance", "BTC/USDT", "ETH/USDX", "--since", "2023-11-14T20:00", "--base-url", emulator.url, "--quiet", "--store"]
    assert main([*call, str(tmp_path / "a")]) == 2
    assert len(Store.open(tmp_path / "a").read("BTC/USDT", "1m")) > 100
    emulator.restart(Faults(script={-1: "451"}))
    assert main([*call[:3], *call[4:], str(tmp_path / "b")]) == 4
    assert "does not serve the country of this address (451)" in capsys.readouterr().err
    emulator.restart()


SLOW = """
import sys
from candelabra.sources.exchanges import keeping, rules
from dataclasses import replace
keeping._AT_ONCE = 300
rules.KNOWN["binance"] = replace(rules.KNOWN["binance"], page=100, calls_per_second=25.0)
from candelabra.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_kill_9_loses_no_stored_candle_and_the_same_command_goes_on(
    emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "candles"
    call = ["fetch", "binance", "BTC/USDT", "--since", "2023-11-11", "--base-url", emulator.url, "--quiet", "--store", str(root)]
    running = subprocess.Popen([sys.executable, "-c", SLOW, *call])
    try:
        before = _wait_for_bars(root, 600)
        assert main(call) == 4  # one writes; the other says who
        assert f"is being written by process {running.pid}" in capsys.readouterr().err
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    kept = Store.open(root).read("BTC/USDT", "1m")
    assert len(kept) >= before
    assert kept.fingerprint == emulator.truth("BTC/USDT", "1m", *kept.span).fingerprint
    emulator.restart()
    assert main(call) == 0
    whole = Store.open(root).read("BTC/USDT", "1m")
    assert whole.fingerprint == emulator.truth("BTC/USDT", "1m", *whole.span).fingerprint
    assert len(whole) > 5000
    first = min(int(c.query["startTime"]) for c in emulator.log if c.path.endswith("klines"))
    assert first == kept.span[1] - MINUTE  # from the last row on
    assert main(["store", "verify", str(root)]) == 0


def _wait_for_bars(root: Path, bars: int) -> int:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            found = len(Store.open(root).read("BTC/USDT", "1m"))
        except CandelabraError:
            found = 0
        if found >= bars:
            return found
        time.sleep(0.02)
    raise AssertionError("nothing was stored in 30 s")


def test_an_interrupted_fetch_keeps_what_came_and_says_how_to_go_on(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "candles"
    monkeypatch.setattr(keeping, "_AT_ONCE", 300)
    monkeypatch.setitem(rules.KNOWN, "binance", replace(rules.KNOWN["binance"], page=100, calls_per_second=25.0))
    writes: list[int] = []
    write = keeping.Keeper._write

    def interrupting(self: keeping.Keeper, pieces: list[keeping.Piece]) -> object:
        done = write(self, pieces)
        writes.append(len(pieces))
        if len(writes) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return done

    monkeypatch.setattr(keeping.Keeper, "_write", interrupting)
    call = ["fetch", "binance", "BTC/USDT", "--since", "2023-11-11", "--base-url", emulator.url, "--quiet", "--store", str(root)]
    assert main(call) == 130
    assert "the same command goes on from there" in capsys.readouterr().err
    assert 300 <= len(Store.open(root).read("BTC/USDT", "1m")) < 5000
