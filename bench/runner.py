"""Runs tools in processes of their own, interleaved, and turns what they say into lines."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench.item import Absent, Item, Tool
from bench.peaks import PEAKS, contended, record
from bench.registry import items

ROOT = Path(__file__).resolve().parents[1]
_NAMED = (
    "candelabra",
    "numpy",
    "numba",
    "pandas",
    "polars",
    "torch",
    "transformers",
    "TA-Lib",
    "ta",
    "onnxruntime",
    "lightgbm",
    "arch",
    "vectorbt",
)


def measure_here(item: Item, tool: str, small: bool) -> dict[str, Any]:
    """Run one tool in this process and say what it measured."""
    chosen = item.tools[tool]
    lacking = [m for m in chosen.modules if importlib.util.find_spec(m) is None]
    if lacking:
        return {"absent": f"{', '.join(lacking)} not installed: {_how(chosen)}"}
    try:
        readings = chosen.run(small)
    except Absent as missing:
        return {"absent": str(missing)}
    return {"readings": {name: vars(r) for name, r in readings.items()}, "versions": _versions()}


def _how(tool: Tool) -> str:
    folder = f"bench/rivals/{tool.rival}"
    return f"pip install -r {folder}/requirements.txt (here, or in {folder}/.venv)" if tool.rival else "install the dev extra"


def _versions() -> dict[str, str]:
    loaded = {name.split(".")[0].lower() for name in sys.modules}
    found = {"python": sys.version.split()[0]}
    for name in _NAMED:
        if {"TA-Lib": "talib"}.get(name, name.lower()) in loaded:
            # in a rival's own environment candelabra may be importable without being installed
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[name] = importlib.metadata.version(name)
    return found


def _measure_apart(item: Item, tool: str, small: bool) -> dict[str, Any]:
    """The same in a fresh process with the item's number of threads (a rival's own environment where it has one)."""
    own = ROOT / "bench" / "rivals" / (item.tools[tool].rival or "-") / ".venv" / "bin" / "python"
    command = [str(own) if own.exists() else sys.executable, "-m", "bench", "one", item.name, tool, *(["--small"] if small else [])]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"), str(item.threads))
    env = {**os.environ, **threads, **item.environment}
    # a rival's own environment has no candelabra, but the modules that list the items name its types
    env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), env.get("PYTHONPATH"))))
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=item.limit, check=False)
    except subprocess.TimeoutExpired:  # the other tools and items are still to be measured
        alone = f"python -m bench one {item.name} {tool!r}"
        return {"failed": f"not done after {item.limit:g} s, the item's limit: give it a quieter machine, or {alone}, which has none"}
    if done.returncode:
        return {"failed": "; ".join(done.stderr.strip().splitlines()[-3:])}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def run(names: Iterable[str], *, small: bool, remember: bool) -> Iterator[dict[str, Any]]:
    """Lines of the peaks and then of every item whose name begins with one of ``names`` (all when there are none)."""
    chosen = list(names)
    peaks: dict[str, float] = {}
    for item in PEAKS:
        for line in _lines(item, small, ""):
            peaks[f"{line['item']} {line['tool']}"] = line["value"]
            yield line
    if remember:
        record(peaks)
    busy = contended(peaks)
    every = items()
    for item in every.values():
        # a whole name means that item alone, a beginning all that share it
        if any(item.name == n if n in every else item.name.startswith(n) for n in chosen) or (not chosen and (item.in_small or not small)):
            yield from _lines(item, small, busy)


def _lines(item: Item, small: bool, busy: str) -> Iterator[dict[str, Any]]:
    answers: dict[str, list[dict[str, Any]]] = {tool: [] for tool in item.tools}
    load = os.getloadavg()[0]
    for _ in range(1 if small else item.rounds):
        for tool in item.tools:  # A B C A B C: what others do to the machine falls on all alike
            if not answers[tool] or "readings" in answers[tool][-1]:
                answers[tool].append(_measure_apart(item, tool, small))
    values: dict[str, dict[str, float]] = {}
    for tool, said in answers.items():
        good = [a["readings"] for a in said if "readings" in a]
        if good:
            values[tool] = {figure: median(r[figure]["value"] for r in good) for figure in good[-1]}
    for tool, said in answers.items():
        common = {"tool": tool, "commit": _commit(), "load": round(load, 2), "small": small}
        if tool not in values:
            why = said[-1].get("absent") or said[-1].get("failed", "")
            kind = "missing" if "absent" in said[-1] else "failed"
            yield {"item": item.name, **common, "value": None, "ok": None if kind == "missing" else False, "note": f"{kind}: {why}"}
            continue
        readings = [a["readings"] for a in said if "readings" in a]
        for figure, last in readings[-1].items():
            line: dict[str, Any] = {"item": f"{item.name}/{figure}" if figure else item.name, **common}
            line |= {"value": values[tool][figure], "unit": last["unit"], "ratio": None, "reach": None, "ok": None}
            line |= {"checksum": last["checksum"], "versions": said[-1]["versions"], "note": last["note"]}
            line["rounds"] = [r[figure]["value"] for r in readings]
            _judge(line, item, figure, values, answers, small, busy)
            yield line


def _judge(
    line: dict[str, Any],
    item: Item,
    figure: str,
    values: dict[str, dict[str, float]],
    answers: dict[str, list[dict[str, Any]]],
    small: bool,
    busy: str,
) -> None:
    wanted = _checksum(answers, item.reference, figure)
    if wanted and line["checksum"] and line["checksum"] != wanted:
        line |= {"ok": False, "note": f"does not count: its checksum differs from {item.reference}'s. {line['note']}".strip()}
    for goal in item.goals:
        if (goal.tool, goal.figure) != (line["tool"], figure):
            continue
        line["reach"] = goal.reach
        try:
            line["ratio"] = goal.ratio(values)
        except KeyError as lacking:
            line["note"] = f"not judged: {lacking} was not measured. {line['note']}".strip()
            return
        if line["ok"] is False:
            return
        if small:
            line["note"] = f"small sizes: not judged. {line['note']}".strip()
        elif goal.absolute and busy:
            line["note"] = f"not judged: {busy}. {line['note']}".strip()
        else:
            line["ok"] = goal.met(line["ratio"])


def _checksum(answers: dict[str, list[dict[str, Any]]], tool: str, figure: str) -> str:
    for said in answers.get(tool, []):
        if "readings" in said:
            return str(said["readings"].get(figure, {}).get("checksum", ""))
    return ""


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
