"""Fetching items: what becomes of candles when an exchange fails on purpose, and what a million of them cost."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.item import Goal, Item, Reading, Tool

_MINUTE = 60_000
_NOW = 1_700_000_005_000
_END = _NOW // _MINUTE * _MINUTE - 30 * _MINUTE
_SYMBOL = "BTC/USDT"
_NAMED = "error"

Rows = np.ndarray[Any, Any]
Fetch = Callable[[str, int, int, int], Awaitable[Rows]]
"""(url, start, end, rows a page) to ``(n, 6)`` rows."""


async def _ours(url: str, start: int, end: int, page: int) -> Rows:
    from candelabra.candles.timeframe import Timeframe
    from candelabra.sources.exchanges.contract import Connection
    from candelabra.sources.exchanges.fetching import fill
    from candelabra.sources.exchanges.pace import Patience
    from candelabra.sources.exchanges.rest import RestSource
    from candelabra.sources.store import Store

    patience = Patience(20, 0.02, 0.2)
    source = RestSource(Connection("binance", url, options={"calls_per_second": 200.0}, timeout_s=0.7), patience)
    source.rules = replace(source.rules, page=page)
    with tempfile.TemporaryDirectory(prefix="candelabra-bench-") as folder:
        store = Store.create(Path(folder) / "s")
        try:
            await fill(source, store, _SYMBOL, Timeframe("1m"), start, end, patience=patience, pause_s=0.02)
        finally:
            await source.close()
        candles = store.read(_SYMBOL, "1m")
    return np.column_stack([candles.open_time.astype(float), *candles.values()])


def _client(url: str, **settings: Any) -> Any:
    import ccxt.async_support as ccxt

    from candelabra.sources.emulator import point_at

    given = {"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}}
    made = point_at(ccxt.binance(given | settings), url)
    made.timeout_on_exit = 0
    return made


async def _naive(url: str, start: int, end: int, page: int, timeout_ms: int = 700) -> Rows:
    """The loop that is written everywhere: on with the last time, ten tries after network errors, done at an empty page."""
    import ccxt

    client = _client(url, timeout=timeout_ms)
    rows: list[Any] = []
    try:
        since, failures = start, 0
        while True:
            try:
                got = await client.fetch_ohlcv(_SYMBOL, "1m", since, page)
            except ccxt.NetworkError:
                failures += 1
                if failures == 10:
                    raise
                await asyncio.sleep(0.05)
                continue
            failures = 0
            got = [row for row in got if row[0] is not None and row[0] < end]
            if not got:
                break
            rows += got
            since = got[-1][0] + _MINUTE
            if since >= end:
                break
    finally:
        await client.close()
    return _table(rows)


async def _paginate(url: str, start: int, end: int, page: int, timeout_ms: int = 700) -> Rows:
    client = _client(url, timeout=timeout_ms)
    calls = -(-(end - start) // _MINUTE // page) + 1
    try:
        ask = {"paginate": True, "until": end - 1, "paginationCalls": calls, "maxEntriesPerRequest": page}
        rows = await client.fetch_ohlcv(_SYMBOL, "1m", start, None, ask)
    finally:
        await client.close()
    return _table([row for row in rows if row[0] is None or start <= row[0] < end])


def _table(rows: list[Any]) -> Rows:
    return np.array([[math.nan if v is None else float(v) for v in row[:6]] for row in rows], float).reshape(-1, 6)


def _compared(got: Rows, truth: Rows) -> dict[str, int]:
    times = got[:, 0]
    order = np.unique(times[np.isfinite(times)])
    known = {row[0]: row for row in truth}
    wrong = sum(1 for row in got if row[0] not in known or not np.array_equal(row, known[row[0]]))
    return {
        "lost": len(truth) - int(np.isin(truth[:, 0], order).sum()),
        "doubled": len(times) - len(order),
        "wrong": wrong,
        "disordered": int((np.diff(times) < 0).sum()),
    }


def _truth(emulator: Any, start: int, end: int) -> Rows:
    candles = emulator.truth(_SYMBOL, "1m", start, end)
    return np.column_stack([candles.open_time.astype(float), *candles.values()])


def _emulator() -> Any:
    from candelabra.sources.emulator import EmulatedMarket, Emulator
    from candelabra.sources.exchanges.clock import FastClock

    market = EmulatedMarket(_SYMBOL, seed=7, outages=0.1)
    return Emulator(market, clock=FastClock(_NOW, rate=1.0), calls_per_second=math.inf)


# live/rest-faults


def _faults(fetch: Fetch) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        from candelabra.sources.emulator import REST_FAULTS, Faults

        kinds = [kind for kind in REST_FAULTS if kind != "revised"]
        start = _END - 350 * _MINUTE
        told: dict[str, list[str]] = {"right": [], _NAMED: [], "silently wrong": []}
        with _emulator() as emulator:
            truth = _truth(emulator, start, _END)
            for kind in kinds[:: 4 if small else 1]:
                # The calls that look for the first candle may come before the first page: one of the first pages meets it.
                emulator.restart(Faults(script={2: kind, 4: kind}, hang_s=2.0))
                try:
                    got = asyncio.run(fetch(emulator.url, start, _END, 100))
                except Exception:
                    told[_NAMED].append(kind)
                    continue
                told["right" if not any(_compared(got, truth).values()) else "silently wrong"].append(kind)
        fine = len(told["right"]) + len(told[_NAMED])
        note = "; ".join(f"{what} {len(names)}" + (f" ({', '.join(names)})" if what != "right" else "") for what, names in told.items())
        every = len(kinds[:: 4 if small else 1])
        return {
            "": Reading(every - fine, f"of {every} faults silently wrong", note=note),
            "right": Reading(len(told["right"]), f"of {every} faults: right rows after all"),
        }

    return run


FAULTS = Item(
    "live/rest-faults",
    "each of 33 faults alone, on two of the first pages: right rows or a named error, never a silent loss",
    {
        "candelabra": Tool(_faults(_ours), ("ccxt",)),
        "naive pager on ccxt": Tool(_faults(_naive), ("ccxt",)),
        "ccxt paginate": Tool(_faults(_paginate), ("ccxt",)),
    },
    (Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),),
    rounds=1,
)


# live/rest-storm


def _storm(fetch: Fetch) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        from candelabra.sources.emulator.faults import STORM_REST

        count, seeds = (3_000, (1,)) if small else (20_000, (1, 2, 3))
        tame = [kind for kind in STORM_REST if kind not in ("429", "418")]
        with _emulator() as emulator:
            bad, note = _storms(fetch, emulator, count, seeds, STORM_REST)
            tame_bad, tame_note = _storms(fetch, emulator, count, seeds[:1], tame)
        unit = f"lost, doubled, wrong or disordered of {len(seeds)} x {count:,}"
        return {"": Reading(bad, unit, note=note), "without 429 and 418": Reading(tame_bad, f"of {count:,}", note=tame_note)}

    return run


def _storms(fetch: Fetch, emulator: Any, count: int, seeds: Sequence[int], kinds: Sequence[str]) -> tuple[int, str]:
    """An error ends a fetch that keeps nothing: all its candles are lost, and the note names the error."""
    from candelabra.sources.emulator import Faults

    total, notes = 0, []
    truth = _truth(emulator, _END - count * _MINUTE, _END)
    for seed in seeds:
        emulator.restart(Faults(seed=seed, rest=0.25, rest_kinds=kinds))
        began, ended = time.monotonic(), ""
        try:
            found = _compared(asyncio.run(fetch(emulator.url, _END - count * _MINUTE, _END, 100)), truth)
        except Exception as error:
            found = {"lost": len(truth), "doubled": 0, "wrong": 0, "disordered": 0}
            ended = f", ended by {type(error).__name__}"
        total += sum(found.values())
        calls = [call for call in emulator.log if call.number >= 0]
        met, early = sum(call.fault is not None for call in calls), sum(call.early for call in emulator.log)
        what = ", ".join(f"{k} {v}" for k, v in found.items())
        seconds = time.monotonic() - began
        notes.append(f"seed {seed}: {what}{ended}; {met} of {len(calls)} calls faulty, {early} inside a window, {seconds:.0f} s")
    return total, "; ".join(notes)


STORM = Item(
    "live/rest-storm",
    "20,000 candles in pages of 100, a quarter of the calls faulty, three seeds",
    {
        "candelabra": Tool(_storm(_ours), ("ccxt",)),
        "naive pager on ccxt": Tool(_storm(_naive), ("ccxt",)),
        "ccxt paginate": Tool(_storm(_paginate), ("ccxt",)),
    },
    (Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),),
    rounds=1,
)


# live/fetch

_SERVER = """
import math, sys
from candelabra.sources.emulator import EmulatedMarket, Emulator
from candelabra.sources.exchanges.clock import FastClock
with Emulator(EmulatedMarket("BTC/USDT", seed=7), clock=FastClock(int(sys.argv[1]), rate=1.0), calls_per_second=math.inf) as emulator:
    print(emulator.url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def _apart() -> Iterator[str]:
    """The emulator in a process of its own: its CPU time is not the client's."""
    process = subprocess.Popen([sys.executable, "-c", _SERVER, str(_NOW)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=30)


def _fetch(small: bool) -> dict[str, Reading]:
    allowed = 20.0
    count = 60_000 if small else 1_000_000
    share, cpu, note = _run_at(allowed, count)
    fast, _, fast_note = _run_at(50.0, 60_000 if small else 300_000)
    return {
        "": Reading(100 * share, "% of the allowed rate", note=note),
        "cpu": Reading(cpu, "us of CPU a candle, with HTTP", note=f"{count:,} candles, the emulator in another process"),
        "candle": Reading(_cost(), "us of CPU a candle: parse, validate, store"),
        "at 50/s": Reading(100 * fast, "% of 50 requests a second, Binance's own limit", note=fast_note),
    }


def _run_at(allowed: float, count: int) -> tuple[float, float, str]:
    from candelabra.candles.timeframe import Timeframe
    from candelabra.sources.exchanges.contract import Connection
    from candelabra.sources.exchanges.fetching import fill
    from candelabra.sources.exchanges.rest import RestSource
    from candelabra.sources.store import Store

    async def go(url: str, store: Store) -> tuple[float, float, int]:
        source = RestSource(Connection("binance", url, options={"calls_per_second": allowed}))
        try:
            await source.symbols()
            wall, cpu, before = time.monotonic(), time.process_time(), source.pace.requests
            await fill(source, store, _SYMBOL, Timeframe("1m"), _END - count * _MINUTE, _END)
            return time.monotonic() - wall, time.process_time() - cpu, source.pace.requests - before
        finally:
            await source.close()

    with tempfile.TemporaryDirectory(prefix="candelabra-bench-") as folder, _apart() as url:
        store = Store.create(Path(folder) / "s")
        wall, cpu, requests = asyncio.run(go(url, store))
        assert len(store.read(_SYMBOL, "1m")) == count
    note = f"{count:,} candles by {requests:,} requests in {wall:.1f} s: {requests / wall:.1f} of {allowed:.0f} a second"
    return requests / wall / allowed, 1e6 * cpu / count, note


def _cost() -> float:
    """CPU of what is done with an answer's text: JSON, ccxt's reading of rows, our checks, and the store."""
    import ccxt.async_support as ccxt

    from candelabra.candles.frame import Candles
    from candelabra.candles.timeframe import Timeframe
    from candelabra.sources.bars import Bars
    from candelabra.sources.emulator import EmulatedMarket
    from candelabra.sources.emulator.binance import kline
    from candelabra.sources.exchanges.pages import Asked, checked
    from candelabra.sources.store import Store

    pages, frame = 100, Timeframe("1m")
    market, client = EmulatedMarket(_SYMBOL, seed=7), ccxt.binance()
    starts = [_END - (pages - k) * 1000 * _MINUTE for k in range(pages)]
    texts = [json.dumps(kline(market, frame, market.bars(frame, a, a + 1000 * _MINUTE))) for a in starts]
    with tempfile.TemporaryDirectory(prefix="candelabra-bench-") as folder:
        store = Store.create(Path(folder) / "s")
        began = time.process_time()
        for half in (slice(0, 50), slice(50, 100)):
            got = []
            for start, text in zip(starts[half], texts[half], strict=True):
                rows = [client.parse_ohlcv(row, {}) for row in client.parse_json(text)]
                got.append(checked(rows, Asked("binance", _SYMBOL, frame, start, start + 1000 * _MINUTE, _END)).candles)
            bars = Bars.joined([Bars.of(one) for one in got])
            span, times = (got[0].span[0], got[-1].span[1]), np.array(bars.open_time)
            columns = [np.ascontiguousarray(column) for column in bars.values]
            whole = Candles.sealed(_SYMBOL, frame, times, columns, np.zeros(len(times), np.int32), frame, span)
            store.write(whole, exchange="binance", source="bench", fetched_ms=_NOW)
        return 1e6 * (time.process_time() - began) / (1000 * pages)


def _rival(fetch: Callable[..., Awaitable[Rows]]) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        count = 60_000 if small else 300_000
        with _apart() as url:
            wall, cpu = time.monotonic(), time.process_time()
            rows = asyncio.run(fetch(url, _END - count * _MINUTE, _END, 1000, 60_000))  # paginate asks for all pages at once
            wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        note = f"{len(rows):,} of {count:,} candles in {wall:.1f} s, without any pace; neither checked nor stored"
        return {"cpu": Reading(1e6 * cpu / max(1, len(rows)), "us of CPU a candle, with HTTP", note=note)}

    return run


FETCH = Item(
    "live/fetch",
    "a million candles from an exchange into the store, at the rate it allows",
    {
        "candelabra": Tool(_fetch, ("ccxt",)),
        "naive pager on ccxt": Tool(_rival(_naive), ("ccxt",)),
        "ccxt paginate": Tool(_rival(_paginate), ("ccxt",)),
    },
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], ">= 90"),
        Goal("candelabra", "candle", lambda v: v["candelabra"]["candle"], "<= 15", absolute=True),
    ),
    rounds=1,
)

ITEMS = (FAULTS, STORM, FETCH)
