"""CoinGecko and CryptoCompare: limits of their own, no volume where there is none, keys that nobody sees."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from candelabra.candles.timeframe import Timeframe
from candelabra.cli import main
from candelabra.errors import UsageError
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.coingecko import CoinGecko
from candelabra.sources.exchanges.contract import Connection
from candelabra.sources.exchanges.cryptocompare import CryptoCompare
from candelabra.sources.exchanges.journey import FetchReport, fetch_candles
from candelabra.sources.exchanges.keys import Secret, key_for
from candelabra.sources.exchanges.pace import Patience
from candelabra.sources.store import Store

pytest.importorskip("httpx", reason="httpx is not installed: pip install 'candelabra[exchanges]'")

NOW = 1_700_000_005_000
HOUR = 3_600_000
CANARY = "canary-5f1c-secret"
SOURCES = {"coingecko": CoinGecko, "cryptocompare": CryptoCompare}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    market = EmulatedMarket("BTC/USD", seed=4, listed_ms=NOW // HOUR * HOUR - 3000 * HOUR)
    with Emulator(market, exchange=tuple(SOURCES), clock=FastClock(NOW, rate=1.0), calls_per_second=math.inf) as running:
        yield running


def fetched(emulator: Emulator, store: Store, name: str, frame: str, start: int) -> FetchReport:
    connection = Connection(name, emulator.url, options={"calls_per_second": 200.0}, timeout_s=1.0)
    source = SOURCES[name](connection, Patience(20, 0.01, 0.05))

    async def go() -> FetchReport:
        try:
            return await fetch_candles(source, store, {"BTC/USD": start}, Timeframe(frame), patience=Patience(20, 0.01, 0.05))
        finally:
            await source.close()

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("name", "frame", "hours", "bars"),
    [
        ("cryptocompare", "1h", 5000, 3000),
        ("cryptocompare", "1m", 400, 10075),
        ("coingecko", "4h", 5000, 175),
        ("coingecko", "30m", 100, 43),
    ],
)
def test_what_an_aggregator_has_is_fetched_and_what_it_has_not_is_said(
    emulator: Emulator, tmp_path: Path, name: str, frame: str, hours: int, bars: int
) -> None:
    emulator.restart(Faults(seed=3, rest=0.25, retry_after_s=0))
    store = Store.create(tmp_path / "candles")
    report = fetched(emulator, store, name, frame, NOW - hours * HOUR)
    assert not report.failed
    (filled,) = report.filled
    assert filled.added == pytest.approx(bars, abs=2)
    candles = store.read("BTC/USD", frame)
    truth = emulator.truth("BTC/USD", frame, *candles.span)
    assert candles.close.tolist() == truth.close.tolist()
    assert candles.open_time.tolist() == truth.open_time.tolist()
    if name == "coingecko":
        assert set(candles.volume) == {0.0}
        assert "gives no volume" in filled.notes[-1]
        assert "without volume" in store.provenance("BTC/USD", frame)[0].source
    else:
        assert candles.volume.tolist() == truth.volume.tolist()
    assert ("cannot be had" in filled.notes[0]) == (frame != "1h")


def test_timeframes_and_names_they_do_not_have_are_answered(emulator: Emulator, tmp_path: Path) -> None:
    emulator.restart()
    store = Store.create(tmp_path / "candles")
    for name, frame, text in (("coingecko", "1m", "30m of the last day and 4h"), ("cryptocompare", "5m", "fetch one of 1m, 1h, 1d")):
        with pytest.raises(UsageError, match=text):
            raise fetched(emulator, store, name, frame, NOW - 10 * HOUR).failed["BTC/USD"]


def test_a_key_is_nowhere_to_be_seen(
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in SOURCES:
        monkeypatch.setenv(f"CANDELABRA_{name.upper()}_KEY", CANARY)
    monkeypatch.chdir(tmp_path)
    for faults, code in ((Faults(), 0), (Faults(script={-1: "403"}), 4)):
        emulator.restart(faults)
        call = [
            "fetch",
            "cryptocompare",
            "BTC/USD",
            "--timeframe",
            "1h",
            "--since",
            "2023-11-10",
            "--base-url",
            emulator.url,
            "--store",
            f"s{code}",
        ]
        assert main(call) == code
        assert main([*call, "--json"]) == code
    source = CoinGecko(Connection("coingecko", emulator.url))
    shown = f"{source!r} {vars(source)!r}"
    seen = capsys.readouterr()
    assert CANARY not in seen.out + seen.err + caplog.text + shown
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))


def test_keys_come_from_the_environment_or_a_file_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.toml"
    monkeypatch.setenv("CANDELABRA_KEYS_FILE", str(path))
    with pytest.raises(UsageError, match="is no file"):
        key_for("coingecko")
    path.write_text(f'coingecko = "{CANARY}"')
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others can read it: chmod 600") as refused:
        key_for("coingecko")
    assert CANARY not in str(refused.value)
    path.chmod(0o600)
    key = key_for("coingecko")
    assert key is not None
    assert key.open() == CANARY
    assert key_for("cryptocompare") is None
    path.write_text(f"coingecko = {CANARY} ]")
    with pytest.raises(UsageError, match="cannot be read as TOML") as broken:
        key_for("coingecko")
    assert CANARY not in str(broken.value)
    assert broken.value.__cause__ is None
    monkeypatch.setenv("CANDELABRA_COINGECKO_KEY", "other")
    assert str(key_for("coingecko")) == "…"
