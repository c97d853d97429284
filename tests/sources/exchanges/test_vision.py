"""Archives are imported when their checksum fits, from a folder as from the web, and what is stored is not got again."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest

from candelabra.candles.timeframe import Timeframe
from candelabra.cli import main
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults, write_vision
from candelabra.sources.exchanges.archives import WebPlace, place_of
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.funding import read_funding
from candelabra.sources.exchanges.pace import Patience
from candelabra.sources.exchanges.vision import VisionReport, fetch_archives
from candelabra.sources.store import Store

FRAME = Timeframe("1h")
HOUR = 3_600_000
START, END = 1_693_526_400_000, 1_699_228_800_000  # 2023-09-01 .. 2023-11-06
SPOT = EmulatedMarket("BTC/USDT", seed=4, listed_ms=START + 10 * 24 * HOUR, gaps=((1_698_796_800_000 - 5 * HOUR, 1_698_796_800_000),))
SWAP = EmulatedMarket("BTC/USDT:USDT", seed=4)


def got(place: str, store: Store, symbol: str = "BTC/USDT", **settings: bool) -> VisionReport:
    async def go() -> VisionReport:
        where = WebPlace(place, Patience(10, 0.01, 0.05)) if place.startswith("http") else place_of(place)
        if isinstance(where, WebPlace):
            where.pace.spacing_s = 0.001
        try:
            return await fetch_archives(where, store, symbol, FRAME, START, END, **settings)
        finally:
            await where.close()

    return asyncio.run(go())


def same(store: Store, market: EmulatedMarket) -> bool:
    candles = store.read(market.symbol, FRAME)
    truth = market.truth(FRAME, *candles.span)
    there = np.isin(truth.open_time, candles.open_time)
    assert len(candles) > 1000
    return bool(there.sum() == len(candles)) and all(
        np.array_equal(a, b[there]) for a, b in zip(candles.values(), truth.values(), strict=True)
    )


def test_a_folder_of_archives_is_imported_and_a_damaged_one_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = write_vision(tmp_path / "tree", SPOT, ["1h"], START, END)
    days = [path for path in written if path.stem.endswith("-03")]
    days[0].write_bytes(days[0].read_bytes()[:-30] + bytes(30))
    written[-1].with_name(written[-1].name + ".CHECKSUM").unlink()
    store = Store.create(tmp_path / "candles")
    report = got(str(tmp_path / "tree"), store)
    assert same(store, SPOT)
    assert len(report.refused) == 2
    assert "its sha256 is not the one in its CHECKSUM" in report.refused[0]
    assert "there is no" in report.refused[1]
    # The end of a month without bars is the archive's word, what was refused is nobody's.
    gaps = {(g.start_ms, g.end_ms): g.kind for g in store.gaps("BTC/USDT", FRAME)}
    assert gaps[SPOT.gaps[0]] == "exchange gap"
    assert "not fetched" in gaps.values()
    call = ["fetch", "binance", "BTCUSDT", "--timeframe", "1h", "--since", "2023-09-01", "--until", "2023-11-06", "--quiet"]
    assert main([*call, "--archive", str(tmp_path / "tree"), "--store", str(tmp_path / "candles")]) == 1
    said = capsys.readouterr()
    assert "refused: BTCUSDT-1h-2023-11-03.zip" in said.err
    assert "candelabra fetch binance BTC/USDT --store" in said.out
    assert main([*call, "--archive", str(tmp_path / "nowhere"), "--store", str(tmp_path / "candles")]) == 2


def test_the_web_is_asked_again_where_it_failed_and_not_for_what_is_stored(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "candles")
    clock, faults = FastClock(END, rate=1.0), Faults(seed=2, rest=0.2, rest_kinds=("500", "cut-length", "reset", "429"), retry_after_s=0)
    with Emulator([SPOT, SWAP], exchange="binance-vision", clock=clock, faults=faults, calls_per_second=math.inf) as emulator:
        report = got(emulator.url, store)
        assert (same(store, SPOT), report.refused, report.absent) == (True, [], [])
        assert [gap.kind for gap in store.gaps("BTC/USDT", FRAME)] == ["exchange gap"]
        emulator.restart()
        assert got(emulator.url, store).added == 0
        assert not [call for call in emulator.log if "monthly" in call.path and "2023-10" in call.path]
        swaps = got(emulator.url, store, SWAP.symbol, funding=True)
        assert same(store, SWAP)
    times, rates = SWAP.funding(START, 1_698_796_800_000)
    kept = read_funding(store, SWAP.symbol, "binance")
    assert (swaps.funding, kept.time_ms.tolist()) == (len(times), times.tolist())
    assert np.allclose(kept.rate, rates / 1e8)
