"""The live loop: a storm of faults against the truth, silence and how soon it is noticed, memory over many candles."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.item import Goal, Item, Reading, Tool

_KEPT = Path(__file__).resolve().parents[1] / ".benchmarks" / "live"
_SEEDS = (1, 2, 3)
_CANDLE_S = 0.12
_KINDS = ("silent", "frozen")


def bundle() -> Path:
    """The small bundle of the tests (15m candles in, a forecast an hour), made once and kept."""
    if not (_KEPT / "bundle" / "bundle.json").is_file():
        from candelabra.testing.products import small_bundle

        _KEPT.mkdir(parents=True, exist_ok=True)
        small_bundle(_KEPT)
    return _KEPT / "bundle"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="candelabra-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield Path(name)


# live/storm


def _storm(small: bool) -> dict[str, Reading]:
    from candelabra.testing.storms import live_storm

    totals: dict[str, float] = {}
    slowest = 0.0
    for seed in _SEEDS[: 1 if small else None]:
        with _folder() as folder:
            one = live_storm(bundle(), folder, candles=100 if small else 1_030, seed=seed, socket=0.2, candle_s=_CANDLE_S)
        bad = one.lost + one.doubled + one.wrong + one.disordered + one.unsaid + one.unlike
        found = {
            "bad": bad, "candles": one.candles, "bars": one.bars, "gaps": one.gaps, "socket faults": one.socket_faults,
            "REST faults": one.rest_faults, "replayed": one.replayed,
        }  # fmt: skip
        totals = {name: totals.get(name, 0.0) + value for name, value in found.items()}
        totals["least faults"] = min(totals.get("least faults", math.inf), one.socket_faults)
        slowest = max([slowest, *one.recoveries_s])
    note = "lost + doubled + wrong + out of order + not said once + said otherwise again"
    return {
        "": Reading(totals["bad"], "rows", note=note),
        **{name: Reading(value, "") for name, value in totals.items() if name != "bad"},
        "recovery": Reading(slowest, "s", note="the slowest, with 25 % of the answers wrong meanwhile"),
    }


def _naive_storm(small: bool) -> dict[str, Reading]:
    """Many a loop one finds: a later timestamp on the socket means that the row before is final; every exception is tried again."""
    lost = wrong = faults = 0
    for seed in _SEEDS[: 1 if small else None]:
        a, b, c = asyncio.run(_naive(100 if small else 1_030, seed, ()))
        lost, wrong, faults = lost + a, wrong + b, faults + c
    return {"": Reading(lost + wrong, "rows", note=f"{lost} lost, {wrong} wrong, {faults} socket faults")}


async def _naive(candles: int, seed: int, script: Any) -> tuple[int, int, int]:
    import ccxt.pro as pro

    from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults, point_at
    from candelabra.sources.exchanges.clock import FastClock
    from candelabra.testing.storms import START_MS

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    bar_ms = 900_000
    clock = FastClock(START_MS, rate=bar_ms / 1000 / _CANDLE_S)
    faults = Faults(seed=seed, rest=0.25, socket=0.2) if not script else Faults(socket_script=dict(script))
    kept: dict[int, list[float]] = {}
    end_ms = START_MS + candles * bar_ms
    with Emulator(EmulatedMarket("BTC/USDT", seed=seed + 100, outages=0.6), clock=clock, faults=faults, calls_per_second=math.inf) as e:
        exchange = point_at(pro.binance({"newUpdates": True}), e.url)
        began = e.now_ms()
        last: list[float] | None = None
        while clock.now_ms() < end_ms:
            try:
                left = (end_ms - clock.now_ms()) / 1000 / clock.rate
                rows = await asyncio.wait_for(exchange.watch_ohlcv("BTC/USDT", "15m"), max(left, 0.01))
            except TimeoutError:
                break
            except Exception:
                await asyncio.sleep(0.01)
                continue
            for row in [list(r) for r in rows]:
                if last is not None and row[0] > last[0]:
                    kept[int(last[0])] = last
                if last is None or row[0] >= last[0]:
                    last = row
        with suppress(Exception):
            await asyncio.wait_for(exchange.close(), 5)
        truth = e.truth("BTC/USDT", "15m", began // bar_ms * bar_ms + bar_ms, end_ms - bar_ms)
        fired = len(e.socket_faults)
    lost = sum(int(t) not in kept for t in truth.open_time)
    values = zip(truth.open_time.tolist(), *(v.tolist() for v in truth.values()), strict=True)
    wrong = sum(t in kept and kept[t][1:6] != list(row) for t, *row in values)
    return lost, wrong, fired


STORM = Item(
    "live/storm",
    "1,000 candles, a fault on every fifth socket candle and every fourth answer, three seeds, real gaps, one restart",
    {"candelabra": Tool(_storm, ("ccxt",)), "naive ccxt.pro loop": Tool(_naive_storm, ("ccxt",))},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),
        Goal("candelabra", "least faults", lambda v: v["candelabra"]["least faults"], ">= 80"),
    ),
    rounds=1,
    in_small=False,
)


# live/silence


def _silence(small: bool) -> dict[str, Reading]:
    from candelabra.testing.storms import live_storm

    notices: list[float] = []
    recoveries: list[float] = []
    bad = 0
    for number, kind in enumerate(_KINDS):
        with _folder() as folder:
            one = live_storm(
                bundle(), folder, candles=30 if small else 60, seed=number, rest=0.0, socket=0.2, socket_kinds=(kind,), candle_s=1.0,
                outages=0.0, interrupt=False,
            )  # fmt: skip
        notices += one.notices
        recoveries += one.recoveries_s
        bad += one.lost + one.doubled + one.wrong + one.disordered + one.unsaid + one.unlike
    return {
        "": Reading(max(notices), "bars", note=f"the longest of {len(notices)} silences, in candle intervals"),
        "recovery": Reading(max(recoveries), "s", note="from being noticed to live again"),
        "bad": Reading(bad, "rows"),
    }


def _naive_silence(small: bool) -> dict[str, Reading]:
    lost, _, _ = asyncio.run(_naive(60, 1, {5: "silent"}))
    return {"": Reading(float(lost), "bars", note="a silent stream is not noticed while 55 candles pass")}


SILENCE = Item(
    "live/silence",
    "a socket that falls silent or freezes: how old data gets until that is noticed, and how soon it is live again",
    {"candelabra": Tool(_silence, ("ccxt",)), "naive ccxt.pro loop": Tool(_naive_silence, ("ccxt",))},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 2.5"),
        Goal("candelabra", "recovery", lambda v: v["candelabra"]["recovery"], "<= 2"),
        Goal("candelabra", "bad", lambda v: v["candelabra"]["bad"], "<= 0"),
    ),
    rounds=1,
    in_small=False,
)


# live/memory


def _memory(small: bool) -> dict[str, Reading]:
    from candelabra.candles import simulate
    from candelabra.live.journal import writing_journal
    from candelabra.live.loop import Live, LiveSettings
    from candelabra.live.replay import replay
    from candelabra.live.seat import open_bundle
    from candelabra.sources.exchanges.clock import WallClock
    from candelabra.sources.store import Store
    from candelabra.testing.exchanges import MemorySource, plain_fill

    count, warm, bar = (6_000, 4_000, 900_000) if small else (20_000, 4_000, 900_000)
    market = simulate("SIM/USDT", "15m", bars=count + 4_000, seed=1).candles
    opened = open_bundle(bundle())
    start = int(market.open_time[3_900])

    async def followed(folder: Path) -> tuple[float, float, int]:
        clock = WallClock()
        source = MemorySource(market, clock)
        with writing_journal(folder / "journal") as journal:
            journal.use_bundle(opened.id, opened.path, 0, "memory")
            live = Live(opened, source, Store.create(folder / "store"), journal, clock, plain_fill, LiveSettings((market.symbol,)))
            (post,) = live.posts.values()
            before, began = 0.0, time.process_time()
            for number in range(count):
                post.until_ms = start + number * bar
                await live._catch_up(post)
                if number == warm:
                    gc.collect()
                    before, began = _resident_mib(), time.process_time()
            gc.collect()
            return _resident_mib() - before, 1e3 * (time.process_time() - began) / (count - warm), len(replay(journal).unlike)

    with _folder() as folder:
        grown, each, unlike = asyncio.run(followed(folder))
    return {
        "": Reading(grown, "MiB", note=f"resident memory over {count - warm:,} candles after {warm:,}"),
        "candle": Reading(each, "CPU ms", note="a candle of 15m, every fourth with a forecast, judged, written"),
        "unlike": Reading(unlike, "bars", note="said otherwise when the journal is told again"),
    }


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


MEMORY = Item(
    "live/memory",
    "20,000 candles followed: what memory grows by after warm-up",
    {"candelabra": Tool(_memory)},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 5"),
        Goal("candelabra", "unlike", lambda v: v["candelabra"]["unlike"], "<= 0"),
    ),
    rounds=1,
    in_small=False,
)


# live/kills


def _kills(small: bool) -> dict[str, Reading]:
    from candelabra.testing.kills import kill_fetches, kill_lives

    times = 2 if small else 50
    with _folder() as folder:
        fetched = kill_fetches(folder / "fetched", times, seed=5)
        followed = kill_lives(bundle(), folder / "live", times, seed=5)
    end = followed.truth
    bad = end.lost + end.doubled + end.wrong + end.disordered + end.unsaid + end.unlike
    ends = f"{times} kills, {followed.told:,} told, {end.candles:,} candles, {end.bars} base bars"
    return {
        "": Reading(fetched.lost + fetched.wrong + fetched.unreadable, "bars", note=f"{times} kills, {fetched.bars:,} bars in the end"),
        "live": Reading(followed.forgotten + bad, "rows", note=ends),
    }


KILLS = Item(
    "live/kills",
    "fetch and the live loop killed with -9 fifty times each, every tenth answer wrong meanwhile: what was stored or told and is gone",
    {"candelabra": Tool(_kills, ("ccxt",))},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0"),
        Goal("candelabra", "live", lambda v: v["candelabra"]["live"], "<= 0"),
    ),
    rounds=1,
    in_small=False,
)

ITEMS = (STORM, SILENCE, MEMORY, KILLS)
