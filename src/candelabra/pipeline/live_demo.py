"""The whole live loop in minutes: a small bundle made quickly, an emulated exchange at sixty times the speed, a picture at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from candelabra.candles.frame import Candles, format_minute
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import Timeframe
from candelabra.config.tree import Config
from candelabra.disk import write_atomically
from candelabra.live.journal import Journal, reading_journal
from candelabra.live.run import LivePlan, run_live
from candelabra.pipeline.train import train
from candelabra.progress import Reporter, Silent
from candelabra.regimes.labeller import new_labeller
from candelabra.regimes.learning_set import LearningSet
from candelabra.report.live_page import LiveView, live_page
from candelabra.sources.exchanges.clock import FastClock

if TYPE_CHECKING:
    from candelabra.live.loop import Event, Live

__all__ = ["SPEED", "LiveDemo", "demo_live", "live_config"]

SPEED: Final = 60.0
_SYMBOL: Final = "BTC/USDT"
_START_MS: Final = 1_700_000_000_000 // 86_400_000 * 86_400_000
_BARS: Final = 12_000
_BEFORE_MS: Final = 10 * 3_600_000
_MINUTES: Final = 5
_STEPS: Final = 60
_SILENT_AT: Final = 9
_FEATURES: Final = (
    "scaled_return(1)", "scaled_return(12)", "scaled(upper_wick)", "scaled(lower_wick)", "rel_log_parkinson(1)", "rel_log_rv(6)",
    "rel_log_rv(24)", "rv_ratio(6,24)", "rel_volume(24)",
)  # fmt: skip


@dataclass(frozen=True)
class LiveDemo:
    """Where the demonstration left things; ``bars`` closed bars in the journal, ``seconds`` that were followed."""

    folder: Path
    bundle: Path
    journal: Path
    store: Path
    picture: Path
    bars: int
    interrupted: bool


def live_config(config: Config, changes: Mapping[str, object] | None = None) -> Config:
    """``config`` with bars of five minutes, features of short memory, two members and few baselines: made quickly, for a demonstration.

    ``changes``: settings by key, over these.
    """
    from candelabra.config.build import configure

    return configure(
        {
            "size": "tiny", "seed": config.seed, "timeframes.base": "5m", "timeframes.coarse": ("15m",),
            "windows.horizons": ("5m", "30m", "2h"), "features.base": _FEATURES, "features.coarse": _FEATURES, "model.name": "arms",
            "model.anchor": "ewma", "ensemble.members": (), "baselines": ("historical", "ewma"), "training.steps": _STEPS,
            "training.threads": config.training.threads, "regimes.modes": ("filtered",), "regimes.training.steps": _STEPS // 2,
            **(changes or {}),
        }
    )  # fmt: skip


def demo_live(
    config: Config,
    *,
    folder: Path = Path("runs") / "live-demo",
    seconds: float = 90.0,
    speed: float = SPEED,
    progress: Reporter | None = None,
    begun: Callable[[Live], None] | None = None,
    bars: int = _BARS,
    regimes: bool = True,
    changes: Mapping[str, object] | None = None,
) -> LiveDemo:
    """Train on ``bars`` of an emulated market, then follow it ``seconds`` long at ``speed`` times the world's; no network is needed.

    ``begun``: is given the loop, to show it; ``changes``: see `live_config`.
    The folder holds the run, the store, the journal and ``live.html``.
    """
    from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults

    progress = progress or Silent()
    chosen = live_config(config, changes)
    market = EmulatedMarket(_SYMBOL, seed=config.seed + 7, outages=0.2)
    with progress.stage("emulate a market"):
        candles = market.truth("5m", _START_MS - bars * _MINUTES * 60_000, _START_MS)
    labels = _labels(candles) if regimes else None
    run = folder / "run"
    result = train(chosen, [candles], folder=run, progress=progress, labels=labels, commands=("candelabra demo --live",))
    clock = FastClock(_START_MS + 600_000, speed)
    ends: list[int] = []

    def begin(loop: Live) -> None:
        def enough(event: Event) -> None:
            if not ends and event.kind == "state" and event.subject == _SYMBOL and event.body["after"] == "live":
                ends.append(clock.now_ms() + int(seconds * speed * 1000))  # it has caught up with the emulated present
            if ends and clock.now_ms() >= ends[0]:
                loop.stop()

        loop.subscribe(enough)
        if begun is not None:
            begun(loop)

    # its socket falls silent once, so that the states have something to show
    faults = Faults(socket_script={_SILENT_AT: "silent"})
    with Emulator(market, clock=clock, faults=faults, calls_per_second=math.inf, updates=20) as emulator:
        plan = LivePlan(
            result.bundle, "binance", (_SYMBOL,), folder / "store", folder / "journal", since_ms=_START_MS - _BEFORE_MS,
            base_url=emulator.url, clock=clock, options={"calls_per_second": 50.0},
        )  # fmt: skip
        interrupted = run_live(plan, begin)
    picture = folder / "live.html"
    with progress.stage("draw the picture"), reading_journal(folder / "journal") as journal:
        write_atomically(picture, live_page(_view(journal, candles, clock.now_ms())).encode())
        count = journal.count(_SYMBOL)
    return LiveDemo(folder, result.bundle, folder / "journal", folder / "store", picture, count, interrupted)


def _labels(candles: Candles) -> LearningSet:
    """Hindsight labels at two timeframes, to learn regimes from."""
    labeller = new_labeller("trend_scan")
    return LearningSet.of([labeller.label(resample(candles, tf)) for tf in ("15m", "1h")])


def _view(journal: Journal, given: Candles, until_ms: int) -> LiveView:
    """What the journal says, for the picture."""
    start = journal.starts(_SYMBOL)[-1]
    first = journal.starts(_SYMBOL)[0].as_of_ms
    position = journal.position(_SYMBOL) or first
    candles = journal.candles(start, first, position)
    said = [(at, json.loads(body)) for at, _, body in journal.predictions(_SYMBOL) if body is not None]
    bands = {}
    for h, horizon in enumerate(said[0][1]["horizons"]) if said else ():
        length = Timeframe(horizon).milliseconds
        levels = said[0][1]["levels"]
        low, high = (min(range(len(levels)), key=lambda k: abs(levels[k] - wanted)) for wanted in (0.05, 0.95))
        due = np.array([at + length for at, _ in said], np.int64)
        floor, top = (np.array([one["prices"][h][k] for _, one in said], np.float64) for k in (low, high))
        bands[horizon] = (due, floor, top)
    paper = journal.rows("paper", _SYMBOL)
    equity = (np.array([row["as_of_ms"] for row in paper], np.int64), np.array([row["equity"] for row in paper]))
    events = journal.rows("events")
    facts = [("Bundle", start.bundle), ("Bars predicted", f"{len(said):,}"), ("From", f"{format_minute(first)} UTC")]
    facts += [("Orders", "none: on paper")]
    told = [json.loads(e["body"])["text"] for e in events if e["kind"] in ("warning", "note")]
    return LiveView(candles, bands, _regimes(journal), _states(events, first, position), equity, facts, told)


def _regimes(journal: Journal) -> dict[str, list[tuple[int, int, str]]]:
    found: dict[str, list[tuple[int, int, str]]] = {}
    for row in sorted(journal.rows("regimes", _SYMBOL), key=lambda one: one["close_ms"]):
        length = Timeframe(row["timeframe"]).milliseconds
        spells = found.setdefault(row["timeframe"], [])
        name, start, end = row["label"] or "unknown", row["close_ms"] - length, row["close_ms"]
        if spells and spells[-1][2] == name and spells[-1][1] == start:
            spells[-1] = (spells[-1][0], end, name)
        else:
            spells.append((start, end, name))
    return found


def _states(events: list[dict[str, Any]], first: int, until: int) -> list[tuple[int, int, str]]:
    changes = [(e["at_ms"], json.loads(e["body"])["after"]) for e in events if e["kind"] == "state" and e["subject"] == _SYMBOL]
    edges = [(first, "warming"), *changes, (until, "")]
    return [(a, b, name) for (a, name), (b, _) in pairwise(edges) if b > a]
