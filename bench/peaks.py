"""What this machine can do at best, measured before anything else, and whether others are using it just now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.item import Item, Reading, Tool
from bench.timing import copy_seconds, matmul_flops

RECORDED = Path(__file__).with_name("peaks.json")
"""Best peaks seen so far, by processor; ``run --record`` raises them."""

QUIET = 0.8
"""Absolute times count only while every peak is above this share of the recorded one."""


def _matmul(dtype: str) -> Tool:
    return Tool(lambda small: {"": Reading(matmul_flops(dtype, 2 if small else 40) / 1e9, "GFLOP/s")}, ("torch",))


def _copy(small: bool) -> dict[str, Reading]:
    size = 256 * 1024 * 1024
    return {"": Reading(2 * size / copy_seconds(size, 5) / 1e9, "GB/s")}


PEAKS = (
    Item("peak/matmul", "torch product 1920 x 256 x 1024, per CPU second", {d: _matmul(d) for d in ("float32", "bfloat16")}, rounds=2),
    Item("peak/copy", "copying 256 MiB, bytes read and written, per CPU second", {"numpy": Tool(_copy)}, rounds=2),
)


def processor() -> str:
    """What this machine's processor calls itself."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return " ".join(fields.get(k, "?") for k in ("model name", "cpu family", "model"))


def recorded() -> dict[str, float]:
    """The recorded peaks of this processor; empty when it was never measured."""
    if not RECORDED.exists():
        return {}
    found: dict[str, float] = json.loads(RECORDED.read_text(encoding="utf-8")).get(processor(), {})
    return found


def record(peaks: Mapping[str, float]) -> None:
    """Keep the best of what is recorded and what was measured."""
    every = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    known = every.setdefault(processor(), {})
    for name, value in peaks.items():
        known[name] = round(max(value, known.get(name, 0.0)), 1)
    RECORDED.write_text(json.dumps(every, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def contended(peaks: Mapping[str, float]) -> str:
    """Why absolute times do not count in this run; empty when they do."""
    known = recorded()
    if not known:
        return "no recorded peak for this processor: run with --record on a quiet machine"
    low = [f"{name} {peaks[name]:.0f} of {best:.0f}" for name, best in known.items() if name in peaks and peaks[name] < QUIET * best]
    return f"contended: {', '.join(low)}" if low else ""
