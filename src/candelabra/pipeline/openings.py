"""The log of test openings: how often a test range has been looked at, and with how many configurations."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from pathlib import Path
from typing import Final

__all__ = ["count_openings", "log_opening"]

_FILE: Final = "test-openings.jsonl"


def log_opening(runs: Path, data: str, start_ms: int, end_ms: int, config: str) -> tuple[int, int]:
    """Append one opening of a test range to the log in ``runs``; returns (configurations tried, openings), both with this one.

    ``data``: fingerprint of the candles; ``config``: hash of the configuration. The log is only ever appended to.
    """
    key = hashlib.sha256(f"{data}|{start_ms}|{end_ms}".encode()).hexdigest()[:16]
    runs.mkdir(parents=True, exist_ok=True)
    row = {"range": key, "config": config, "start_ms": start_ms, "end_ms": end_ms, "opened_ms": int(time.time() * 1000)}
    path = runs / _FILE
    torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + json.dumps(row) + "\n")
    return count_openings(runs, key)


def count_openings(runs: Path, key: str) -> tuple[int, int]:
    """(configurations tried, openings) of one test range in the log."""
    path = runs / _FILE
    if not path.exists():
        return 0, 0
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(ValueError):  # a line the machine went down in
            rows.append(json.loads(line))
    own = [row for row in rows if row["range"] == key]
    return len({row["config"] for row in own}), len(own)
