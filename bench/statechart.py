"""Regime items about the decoder's rule: the compiled loop over history against the chart that a live program runs on."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.item import Goal, Item, Reading, Tool
from bench.timing import cpu_seconds, digest

_FRAMES = ("15m", "1h", "4h")
_LABELS = ("bullish", "bearish", "consolidation", "volatile")


def _streams(bars: int) -> dict[str, Any]:
    """Probabilities of regimes that last, one row of each timeframe a bar: the dearest case, in which all of them close at once."""
    random, made = np.random.default_rng(4), {}
    for frame in _FRAMES:
        truth = np.repeat(random.integers(0, 4, bars), random.integers(5, 60, bars))[:bars]
        score = 1.5 * np.eye(4)[truth] + random.normal(0, 1, (bars, 4))
        made[frame] = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    return made


def _settings() -> dict[str, Any]:
    from candelabra.regimes.hysteresis import HysteresisSettings

    return dict.fromkeys(_FRAMES, HysteresisSettings(enter=0.5, confirm=3, min_hold=6))


def _compiled(small: bool) -> dict[str, Reading]:
    from candelabra.regimes.hysteresis import hysteresis

    short, long = (500 if small else 3_000), (20_000 if small else 200_000)
    settings, streams = _settings(), _streams(long)
    seconds = cpu_seconds(lambda: [hysteresis(streams[f], settings[f]) for f in _FRAMES], 7)
    seal = digest(*(hysteresis(p, settings[f]) for f, p in _streams(short).items()))
    return {"": Reading(seconds / (long * len(_FRAMES)) * 1e6, "CPU us a bar and timeframe", seal, f"{long:,} bars, 4 labels")}


def _chart(small: bool) -> dict[str, Reading]:
    from candelabra.regimes.statechart import RegimeChart

    short = 500 if small else 3_000
    settings, streams = _settings(), _streams(short)
    codes: dict[str, list[int]] = {}
    changes = 0

    def run() -> None:
        nonlocal changes
        chart, changes = RegimeChart(settings, dict.fromkeys(_FRAMES, _LABELS)), 0
        codes.update({f: [] for f in _FRAMES})
        for t in range(short):
            changes += len(chart.send_bar((t + 1) * 4 * 3_600_000, {f: p[t] for f, p in streams.items()}))
            for frame, label in chart.regimes.items():
                codes[frame].append(-1 if label is None else _LABELS.index(label))

    seconds = cpu_seconds(run, 3)
    seal = digest(*(np.array(codes[f], np.int16) for f in _FRAMES))
    note = f"{short:,} bars x {len(_FRAMES)} timeframes, {changes} changes; the regimes read after each"
    return {"": Reading(seconds / short * 1e3, "CPU ms a bar", seal, note)}


STATECHART = Item(
    "regimes/statechart",
    "hysteresis of regimes at three timeframes: compiled over history, and as a statechart bar by bar; the same states",
    {"candelabra": Tool(_compiled), "python-statemachine": Tool(_chart, ("statemachine",))},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 1", absolute=True),
        Goal("python-statemachine", "", lambda v: v["python-statemachine"][""], "<= 1", absolute=True),
    ),
    reference="candelabra",
)

ITEMS = (STATECHART,)
