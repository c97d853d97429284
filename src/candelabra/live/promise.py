"""What a bundle's own evaluation promised, as its ``metrics.json`` says it: skill over each baseline, coverage; with their intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from candelabra.errors import BundleError

__all__ = ["Interval", "Promise", "read_promise"]


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; NaN where none is known."""

    value: float
    low: float
    high: float

    def apart(self, other: Interval) -> bool:
        """Whether the two intervals have nothing in common, both being known."""
        known = all(math.isfinite(x) for x in (self.low, self.high, other.low, other.high))
        return known and (self.high < other.low or other.high < self.low)


@dataclass(frozen=True)
class Promise:
    """``skill`` by ``(horizon, measure, baseline)``, with ``crps`` and ``qlike`` as measures; ``coverage`` by horizon and nominal share."""

    skill: Mapping[tuple[str, str, str], Interval]
    coverage: Mapping[tuple[str, float], Interval]

    def __bool__(self) -> bool:
        return bool(self.skill or self.coverage)


def read_promise(bundle: Path, model: str) -> Promise:
    """The promise of the bundle's product; empty where it has no metrics. BundleError where they are damaged."""
    path = bundle / "metrics.json"
    if not path.is_file():
        return Promise({}, {})
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        skill = {
            (c["horizon"], c["measure"], c["baseline"]): _interval(c)
            for c in values["comparisons"]
            if c["model"] == model and c["measure"] in ("crps", "qlike")
        }
        coverage = {
            (m["horizon"], int(name.removeprefix("coverage_")) / 100.0): _interval(figure)
            for m in values["models"]
            if m["model"] == model
            for name, figure in m["figures"].items()
            if name.startswith("coverage_")
        }
        return Promise(skill, coverage)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}): restore the sealed bundle") from error


def _interval(values: Mapping[str, Any]) -> Interval:
    return Interval(*(math.nan if values[name] is None else float(values[name]) for name in ("value", "low", "high")))
