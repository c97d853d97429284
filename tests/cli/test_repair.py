"""``repair``: exactly the holes are asked for again, what an exchange has meanwhile comes back, and what it has not stays told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from candelabra.candles.timeframe import Timeframe
from candelabra.cli import main
from candelabra.sources.emulator import EmulatedMarket, Emulator
from candelabra.sources.exchanges.asking_again import stretches
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.provenance import Hole
from candelabra.sources.store import Store

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

MINUTE = 60_000
NOW = 1_700_000_005_000
START = 1_699_900_020_000
BARS = 400


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    outage = (START + 200 * MINUTE, START + 210 * MINUTE)
    markets = [EmulatedMarket("BTC/USDT", seed=7, gaps=(outage,), outages=0.0, quiet=0.0, revised=0.0)]
    with Emulator(markets, clock=FastClock(NOW, rate=1.0), calls_per_second=math.inf) as running:
        yield running


@pytest.fixture
def holed(emulator: Emulator, tmp_path: Path) -> Store:
    """A store that lacks three stretches: never fetched, absent for an unknown reason, and the exchange's own outage."""
    store = Store.create(tmp_path / "kept")
    truth = emulator.truth("BTC/USDT", "1m", START, START + BARS * MINUTE)
    place = (truth.open_time - START) // MINUTE
    first = truth.rows(np.flatnonzero((place < 100) & ~np.isin(place, [20, 21, 40])))
    later = truth.rows(np.flatnonzero(place >= 150))
    for part in (first, later):
        store.write(part, exchange="binance", source="a file", fetched_ms=1)
    return store


def test_exactly_the_holes_are_asked_for(emulator: Emulator, holed: Store, capsys: pytest.CaptureFixture[str]) -> None:
    begun = len(emulator.log)
    assert main(["repair", str(holed.root), "--base-url", emulator.url, "--json", "--quiet"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["asked"]
    assert (told["absent"], told["found"], told["left"], told["revised"]) == (63, 53, {"exchange gap": 10}, 0)
    truth = emulator.truth("BTC/USDT", "1m", START, START + BARS * MINUTE)
    assert holed.read("BTC/USDT", "1m").fingerprint == truth.fingerprint
    asked = [call for call in emulator.log[begun:] if "klines" in call.path]
    assert len(asked) <= 8, "a question for each hole, and two more where it stays"
    kinds = {h.kind for h in holed.gaps("BTC/USDT", "1m")}
    assert kinds == {"exchange gap", "repaired"}
    assert main(["repair", str(holed.root), "--why", "unknown", "--base-url", emulator.url, "--quiet"]) == 0
    assert "no holes to ask for" in capsys.readouterr().out


def test_damaged_months_are_mended_and_fetched_again(emulator: Emulator, holed: Store, capsys: pytest.CaptureFixture[str]) -> None:
    holed.compact()
    path = next(holed.one("BTC/USDT", "1m").folder.glob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    assert main(["repair", str(holed.root), "--base-url", emulator.url, "--quiet"]) == 0
    assert path.name in capsys.readouterr().out
    truth = emulator.truth("BTC/USDT", "1m", START, START + BARS * MINUTE)
    assert holed.read("BTC/USDT", "1m").fingerprint == truth.fingerprint
    assert holed.verify() == []


def test_candles_of_files_have_nobody_to_ask(holed: Store, capsys: pytest.CaptureFixture[str]) -> None:
    truth = holed.read("BTC/USDT", "1m")
    holed.write(truth.rows(slice(0, 10)), exchange="binance", source="x")
    store = Store.create(holed.root.parent / "files")
    store.write(truth.rows(np.r_[0:10, 20:30]), exchange="my_files", source="a file")
    assert main(["repair", str(store.root), "--quiet"]) == 2
    assert "there is no exchange 'my_files'" in capsys.readouterr().err
    assert main(["repair", str(store.root), "--why", "boredom"]) == 2
    assert "choose of" in capsys.readouterr().err


def test_a_long_hole_is_asked_for_in_pages_and_near_ones_together() -> None:
    frame = Timeframe("1m")
    holes = [Hole(600_000, 600_000 + 2500 * MINUTE, "unknown")]
    asked = stretches(holes, ("unknown",), frame, 1000)
    assert [(b - a) // MINUTE for a, b in asked] == [1000, 1000, 502]
    near = [Hole(k * 10 * MINUTE, (k * 10 + 1) * MINUTE, "no trade") for k in range(1, 200)]
    asked = stretches(near, ("no trade",), frame, 1000)
    assert len(asked) == 2
    assert all((b - a) // MINUTE <= 1000 for a, b in asked)
    for hole in near:
        assert any(a < hole.start_ms and hole.end_ms < b for a, b in asked), "with a neighbour to either side"
