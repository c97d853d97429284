"""Processes killed with -9 at random moments while they fetch or follow a market: what they had said they had must still be there."""

from __future__ import annotations

import asyncio
import math
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from candelabra.errors import CandelabraError
from candelabra.live.feed import feed_timeframe
from candelabra.live.journal import reading_journal
from candelabra.live.seat import open_bundle
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.store import Store
from candelabra.testing.storms import START_MS, Truth, against_truth, follow

__all__ = ["KilledFetches", "KilledLives", "kill_fetches", "kill_lives"]

_PATIENCE_S: Final = 180.0
_MINUTE: Final = 60_000

_FETCH: Final = """
import sys
from dataclasses import replace
from candelabra.sources.exchanges import keeping, rules
keeping._AT_ONCE, keeping._EVERY_S = 200, 0.1
rules.KNOWN["binance"] = replace(rules.KNOWN["binance"], page=100, calls_per_second=20.0)
from candelabra.cli import main
sys.exit(main(sys.argv[1:]))
"""
_LIVE: Final = "import sys; from candelabra.testing.kills import _live; _live(*sys.argv[1:])"


@dataclass(frozen=True)
class KilledFetches:
    """Journeys that were killed: ``lost`` bars that a reader had seen before the kill, ``wrong`` stretches at the end or on the way,
    ``unreadable`` stores; ``bars`` in all.
    """

    kills: int
    bars: int
    lost: int
    wrong: int
    unreadable: int

    @property
    def flawless(self) -> bool:
        """Whether nothing that was seen is gone or other than the truth."""
        return not (self.lost or self.wrong or self.unreadable) and self.bars > 0


@dataclass(frozen=True)
class KilledLives:
    """Live loops that were killed: ``forgotten`` predictions that had been told before the kill and are not in the journal; ``truth``:
    store and journal in the end, when the last loop had gone on by itself.
    """

    kills: int
    told: int
    forgotten: int
    truth: Truth

    @property
    def flawless(self) -> bool:
        """Whether nothing is forgotten, lost, doubled or wrong."""
        return not self.forgotten and self.truth.flawless


def kill_fetches(root: Path, times: int, seed: int) -> KilledFetches:
    """Kill `candelabra fetch` so often at random moments, read the store after each kill, then let it end."""
    chance = random.Random(seed)
    market = EmulatedMarket("BTC/USDT", seed=seed, outages=0.3)
    now = 1_700_000_005_000
    lost = wrong = unreadable = 0
    faults = Faults(seed=seed, rest=0.1)  # a new process does not know what the killed one was told to wait: bans are short here
    with Emulator(market, clock=FastClock(now, rate=1.0), faults=faults, calls_per_second=math.inf, ban_s=1) as emulator:
        since = now // _MINUTE * _MINUTE - (3_000 + 6_000 * times) * _MINUTE
        call = ["fetch", "binance", "BTC/USDT", "--since", _date(since), "--base-url", emulator.url, "--quiet", "--store", str(root)]
        for _ in range(times):
            before = _bars(root)
            child = subprocess.Popen([sys.executable, "-c", _FETCH, *call], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                _grown(root, before, child)
                time.sleep(chance.uniform(0.0, 0.4))
                seen = _bars(root)
            finally:
                child.send_signal(signal.SIGKILL)
                child.wait()
            try:
                kept = Store.open(root).read("BTC/USDT", "1m")
                lost += max(0, seen - len(kept))
                wrong += kept.fingerprint != emulator.truth("BTC/USDT", "1m", *kept.span).fingerprint
            except CandelabraError:
                unreadable += 1
        done = subprocess.run([sys.executable, "-m", "candelabra", *call], capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(done.stderr)
        store = Store.open(root)
        whole = store.read("BTC/USDT", "1m")
        wrong += whole.fingerprint != emulator.truth("BTC/USDT", "1m", *whole.span).fingerprint
        wrong += len(store.verify())
    return KilledFetches(times, len(whole), lost, wrong, unreadable)


def kill_lives(bundle: Path, folder: Path, times: int, seed: int, candle_s: float = 0.12) -> KilledLives:
    """Kill a live loop so often at random moments after it has told something, then let it catch up."""
    chance = random.Random(seed)
    opened = open_bundle(bundle)
    frame = feed_timeframe(opened.predictor)
    clock = FastClock(START_MS, rate=frame.milliseconds / 1000 / candle_s)
    market = EmulatedMarket("BTC/USDT", seed=seed + 100, outages=0.3)
    told: list[int] = []
    forgotten = 0
    store = Store.create(folder / "store")
    faults = Faults(seed=seed, rest=0.1, socket=0.05)
    with Emulator(market, clock=clock, faults=faults, calls_per_second=math.inf) as emulator:
        for _ in range(times):
            own = _told_until_killed(
                [str(bundle), str(folder), emulator.url, str(clock.now_ms()), str(clock.rate)], chance.uniform(0.0, 0.8)
            )
            told += own
            with reading_journal(folder / "journal") as journal:
                forgotten += len(set(told) - {at for at, _, _ in journal.predictions(market.symbol)})
        until = int(opened.predictor.recipe.base.next(opened.predictor.recipe.base.floor(clock.now_ms())))
        asyncio.run(follow(opened, emulator, clock, store, folder / "journal", until, lambda event: None))
        return KilledLives(times, len(told), forgotten, against_truth(opened, emulator, store, folder / "journal"))


def _told_until_killed(arguments: list[str], after_s: float) -> list[int]:
    """Closes of which a child told a prediction before it was killed, so long after the first."""
    child = subprocess.Popen([sys.executable, "-c", _LIVE, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told: list[int] = []
    bomb = threading.Timer(after_s, child.send_signal, [signal.SIGKILL])
    try:
        for line in child.stdout:
            if line.endswith("\n"):  # the last may be cut
                told.append(int(line))
            if len(told) == 1:
                bomb.start()
    finally:
        bomb.cancel()
        child.kill()
        child.stdout.close()
        child.wait()
    if not told:
        raise AssertionError("the live loop ended before it told anything")
    return told


def _live(bundle: str, folder: str, url: str, start_ms: str, rate: str) -> None:
    """What the child runs: tells each close when its prediction is in the journal."""
    place = Path(folder)
    clock = FastClock(int(start_ms), float(rate))
    emulator: Any = _Elsewhere(url)

    def tell(event: Any) -> None:
        if event.kind == "prediction":
            print(event.at_ms, flush=True)

    asyncio.run(follow(open_bundle(Path(bundle)), emulator, clock, Store.open(place / "store"), place / "journal", 1 << 62, tell))


@dataclass(frozen=True)
class _Elsewhere:
    """An emulator of another process."""

    url: str
    markets: tuple[str, ...] = ("BTC/USDT",)


def _date(time_ms: int) -> str:
    from candelabra.candles.frame import format_time

    return format_time(time_ms).replace(" ", "T")


def _bars(root: Path) -> int:
    try:
        return len(Store.open(root).read("BTC/USDT", "1m"))
    except CandelabraError:
        return 0


def _grown(root: Path, before: int, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while _bars(root) <= before:
        if time.monotonic() > until or child.poll() is not None:
            raise AssertionError(f"nothing new was stored (exit code {child.poll()})")
        time.sleep(0.02)
