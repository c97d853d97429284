"""The lines of a run for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def table(lines: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: one row per item and tool."""
    rows = ["| item | tool | value | ratio | reach | reached |", "|---|---|---|---|---|---|"]
    for line in lines:
        value = "missing" if line["value"] is None else f"{_digits(line['value'])} {line.get('unit', '')}".strip()
        ratio = "" if line.get("ratio") is None else _digits(line["ratio"])
        said = {True: "yes", False: "**no**", None: ""}[line["ok"]]
        if line["ok"] is None and line.get("reach"):
            said = "not judged"
        rows.append(f"| {line['item']} | {line['tool']} | {value} | {ratio} | {line.get('reach') or ''} | {said} |")
    notes = [f"- {line['item']}, {line['tool']}: {line['note']}" for line in lines if line.get("note")]
    return "\n".join([*rows, *(["", *dict.fromkeys(notes)] if notes else [])])


def failures(lines: Sequence[dict[str, Any]]) -> list[str]:
    """What is below its reach, failed or does not count."""
    found = []
    for line in lines:
        if line["ok"] is False:
            what = "" if line.get("ratio") is None else f" {_digits(line['ratio'])}, reach {line['reach']}"
            found.append(f"{line['item']} {line['tool']}:{what} {line.get('note', '')}".rstrip())
    return found


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
