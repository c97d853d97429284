"""The compiled loop, the chart on python-statemachine and the exported chart in XState (Node) say the same state on every bar."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.regimes.hysteresis import HysteresisRun, HysteresisSettings, hysteresis_run
from candelabra.regimes.statechart import RegimeChart
from candelabra.regimes.xstate import RUNTIME, to_xstate, xstate_position

XSTATE: Final = "5.33.3"
BARS: Final = 6_000
HOUR: Final = 3_600_000
FRAMES: Final = ("1h", "4h", "1d")
RULES: Final = {
    "1h": HysteresisSettings(enter=0.5, confirm=3, min_hold=6),
    "4h": HysteresisSettings(enter=(0.4, 0.5, 0.45, 0.6), confirm=2),
    "1d": HysteresisSettings(enter=0.35, confirm=1, min_hold=2),
}
LABELS: Final = {
    "1h": ("bullish", "bearish", "consolidation", "volatile"),
    "4h": ("up", "down", "unknown", "1.5 x quiet #2"),  # the users' words: one that the chart has for itself, and signs with a meaning
    "1d": ("2", "1", 'say "up"', "Seitwärts"),
}
FOLLOW: Final = Path(__file__).with_name("follow_chart.mjs")
UNREACHABLE: Final = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ENETUNREACH",
    "ETIMEDOUT",
    "ERR_SOCKET_TIMEOUT",
    "EIDLETIMEOUT",
)


def stream(frame: str) -> NDArray[np.float64]:
    """Probabilities of the bars of a timeframe: regimes that last, two digits (so ties and values at thresholds), stretches unknown."""
    every = Timeframe(frame).milliseconds // HOUR
    bars = BARS // every
    random = np.random.default_rng(every)
    truth = np.repeat(random.integers(0, 4, bars), random.integers(1, 25 if every < 24 else 8, bars))[:bars]
    score = 1.2 * np.eye(4)[truth] + random.normal(0, 0.8, (bars, 4))
    p = np.round(np.exp(score) / np.exp(score).sum(axis=1, keepdims=True), 2)
    tied = random.random(bars) < 0.05
    p[tied, random.integers(0, 4, bars)[tied]] = p[tied].max(axis=1)
    for first in random.integers(0, bars, max(2, bars // 200)):
        p[first : first + random.integers(1, 12)] = np.nan
    p[random.random(bars) < 0.01, 1] = np.nan
    p[:3] = np.nan
    return p


STREAMS: Final = {frame: stream(frame) for frame in FRAMES}


def bars() -> list[tuple[int, dict[str, NDArray[np.float64]]]]:
    """Every base bar's close, and what closed then."""
    made = []
    for t in range(BARS):
        close = (t + 1) * HOUR
        steps = {f: Timeframe(f).milliseconds for f in FRAMES}
        made.append((close, {f: STREAMS[f][close // steps[f] - 1] for f in FRAMES if close % steps[f] == 0}))
    return made


def counted(run: HysteresisRun) -> list[tuple[int, ...]]:
    return list(zip(run.age.tolist(), run.candidate.tolist(), run.count.tolist(), strict=True))


def on_base(frame: str, code: NDArray[np.int16]) -> list[str | None]:
    """The label of a timeframe at each base bar: of its last closed bar."""
    closed = (np.arange(1, BARS + 1) * HOUR) // Timeframe(frame).milliseconds
    return [None if row == 0 or code[row - 1] < 0 else LABELS[frame][code[row - 1]] for row in closed]


@pytest.fixture(scope="module")
def runs() -> dict[str, HysteresisRun]:
    return {frame: hysteresis_run(STREAMS[frame], RULES[frame]) for frame in FRAMES}


@pytest.fixture(scope="module")
def xstate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where Node finds XState, kept in pytest's cache; skips where there is no Node or no way to the registry."""
    npm = shutil.which("npm")
    if shutil.which("node") is None or npm is None:
        pytest.skip("Node is not installed here (node, npm): the exported chart cannot be run")
    cache = getattr(request.config, "cache", None)
    folder = Path(cache.mkdir(f"xstate-{XSTATE}")) if cache else tmp_path_factory.mktemp("xstate")
    if not (folder / "node_modules" / "xstate" / "package.json").is_file():
        (folder / "package.json").write_text('{"private": true}')
        install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", f"xstate@{XSTATE}"]
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        if any(word in done.stderr for word in UNREACHABLE):
            pytest.skip(f"the npm registry cannot be reached, so XState is not here: {done.stderr.strip().splitlines()[0]}")
        assert done.returncode == 0, done.stderr
    assert json.loads((folder / "node_modules" / "xstate" / "package.json").read_text())["version"] == XSTATE
    shutil.copy(FOLLOW, folder)  # modules are looked for from where the script lies
    return folder


def in_node(
    folder: Path, tmp_path: Path, chart: dict[str, Any], moves: list[Any], position: dict[str, Any] | None = None
) -> dict[str, Any]:
    (tmp_path / "chart.json").write_text(json.dumps(chart, allow_nan=False))
    told = [
        {"time_ms": close, "probs": {f: [float(x) if np.isfinite(x) else None for x in p] for f, p in heard.items()}}
        for close, heard in moves
    ]
    (tmp_path / "bars.json").write_text(json.dumps({"bars": told, "position": position}, allow_nan=False))
    command = ["node", str(folder / FOLLOW.name), str(tmp_path / "chart.json"), str(tmp_path / "bars.json"), str(RUNTIME)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    out: dict[str, Any] = json.loads(done.stdout)
    return out


def test_the_stream_has_what_could_go_wrong(runs: dict[str, HysteresisRun]) -> None:
    for frame in FRAMES:
        p, enter = STREAMS[frame], RULES[frame].thresholds(4)
        known = np.isfinite(p).all(axis=1)
        top = p[known].max(axis=1)
        assert (~known).sum() > 10
        assert (np.diff(np.flatnonzero(known)) > 3).any(), "a stretch of unknown bars"
        assert ((p[known] == top[:, None]).sum(axis=1) > 1).sum() > 10, "ties"
        assert (top == enter[p[known].argmax(axis=1)]).sum() >= 3, "values at the threshold"
        assert set(np.unique(runs[frame].code)) == {-1, 0, 1, 2, 3}
        assert (np.diff(runs[frame].code) != 0).sum() > 20


@pytest.mark.slow
def test_three_machines_say_the_same_on_every_bar(runs: dict[str, HysteresisRun], xstate: Path, tmp_path: Path) -> None:
    live = RegimeChart(RULES, LABELS)
    exported = json.loads(json.dumps(to_xstate(live)))
    moves = bars()
    half = BARS // 2 + 1
    states, counters, changes, position = [], [], [], None
    for t, (close, heard) in enumerate(moves):
        if t == half:
            position = xstate_position(live)
        changes += live.send_bar(close, heard)
        states.append(live.regimes)
        counters.append(xstate_position(live)["context"])
    told = in_node(xstate, tmp_path, exported, moves)
    titles = {f: {None: exported["states"][f]["initial"]} | {label: label for label in LABELS[f]} for f in FRAMES}
    for frame in FRAMES:
        compiled = on_base(frame, runs[frame].code)
        assert [s[frame] for s in states] == compiled
        closed = [t for t, (_, heard) in enumerate(moves) if frame in heard]
        assert [tuple(counters[t][frame].values()) for t in closed] == counted(runs[frame])
        assert [s[frame] for s in told["states"]] == [titles[frame][label] for label in compiled]
    assert told["contexts"] == counters
    assert told["changes"] == [asdict(change) for change in changes]
    assert len(changes) > 300
    again = in_node(xstate, tmp_path, exported, moves[half:], position)
    assert again["states"] == told["states"][half:], "XState goes on where the chart in Python stood"
    assert again["contexts"] == counters[half:]
    print(f"{BARS:,} bars x {len(FRAMES)} timeframes, {len(changes)} changes, {told['micros']:.0f} us a bar in XState")


def test_the_export_is_data_alone_and_its_runtime_is_beside_it() -> None:
    made = to_xstate(RegimeChart(RULES, LABELS))
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert (made["version"], made["type"], made["meta"]["xstate"]) == ("1", "parallel", 5)
    assert list(made["states"]) == list(FRAMES)
    assert list(made["states"]["4h"]["states"]) == ["(unknown)", *LABELS["4h"]]
    text = RUNTIME.read_text(encoding="utf-8")
    used = set()
    for region in made["states"].values():
        for state in region["states"].values():
            for way in state["on"]["BAR"]:
                used |= {way["guard"]["type"], *(action["type"] for action in way["actions"])}
    assert all(f"    {name}: " in text for name in used)
    assert used == {"begins", "switches", "closes", "announce", "record", "tick"}
    assert len(text.splitlines()) < 60
