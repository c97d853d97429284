"""From the start of a serving process to its first answer to raw candles, and the memory it took."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from bench.item import Goal, Item, Reading, Tool
from bench.timing import digest

_KEPT = Path(__file__).resolve().parents[1] / ".benchmarks" / "serving"
_BARS = 6000


def _market() -> Any:
    from candelabra.candles import simulate

    return simulate("SIM/USDT", "1h", bars=_BARS, seed=1).candles


def make() -> Path:
    """A sealed bundle of `small` (1h, 4h, 1d), hardly trained, and a body of as many candles as it needs; made once and kept."""
    import torch

    from candelabra.bundles.format import seal
    from candelabra.candles.timeframe import Timeframe
    from candelabra.features.scaling import ScalerSettings
    from candelabra.metrics.calibration import Calibration
    from candelabra.models.base import FitData
    from candelabra.models.settings import ArmsSettings
    from candelabra.training.export import export_graphs
    from candelabra.training.fit import fit_network
    from candelabra.training.settings import TrainingSettings
    from candelabra.windows.recipe import Recipe, build_series, candles_needed
    from candelabra.windows.targets import make_targets

    torch.set_num_threads(1)
    recipe, candles = Recipe("1h", coarse=("4h", "1d")), _market()
    series = build_series(candles, recipe)
    targets = make_targets(series, recipe)
    cut = int(0.9 * len(series))
    data = FitData((series,), (targets,), (np.arange(cut),), (np.arange(cut + 24, len(series) - 24),))
    training = TrainingSettings(steps=2, evaluate_every=2, batch_size=2, rehearsal=0.0, precision="float32", threads=1)
    fitted, _ = fit_network(data, ArmsSettings(), training, ScalerSettings(fill=0.0))
    draft = _KEPT / "draft"
    shutil.rmtree(_KEPT, ignore_errors=True)
    fitted.save(draft / "parts" / "arms")
    export_graphs(fitted, draft / "parts" / "arms")
    horizons = tuple(h.name for h in recipe.horizons)
    Calibration(horizons, (0.0,) * len(horizons), (1.0,) * len(horizons)).save(draft / "calibration.json")
    needs = candles_needed(recipe, fitted.windows, fitted.warm_up)
    values = {
        "model": "arms", "created_ms": 1, "version": "0", "symbols": (candles.symbol,), "simulated": True, "horizons": horizons,
        "needs": needs, "recipe": json.loads(recipe.to_json()), "data": {}, "ranges": {}, "libraries": {}, "seed": 0,
        "feature_versions": {tf: t.version for tf, t in series.features.items()},
    }  # fmt: skip
    seal(draft, _KEPT / "bundle", values)
    longest = max(bars * Timeframe(tf).milliseconds for tf, bars in needs.items()) // 3_600_000
    own = candles.rows(slice(-(longest + 72), None))
    names = ("open", "high", "low", "close", "volume")
    columns = {"open_time": own.open_time.tolist()} | {n: v.tolist() for n, v in zip(names, own.values(), strict=True)}
    (_KEPT / "body.json").write_text(json.dumps({"symbol": own.symbol, "candles": {"1h": columns}}))
    return _KEPT


def _kept() -> Path:
    """What `make` made; in a process of its own, so that nothing of it counts."""
    if not (_KEPT / "body.json").is_file():
        subprocess.run([sys.executable, "-c", "from bench.serving import make; make()"], check=True, cwd=_KEPT.parents[1])
    return _KEPT


def _first_answer(command: list[str]) -> dict[str, Reading]:
    kept = _kept()
    body = (kept / "body.json").read_bytes()
    _once(command, body)  # files into the page cache, compiled kernels into numba's
    seconds, cpu, memory, answer = _once(command, body)
    return {
        "": Reading(seconds, "s to the first answer", digest(np.asarray(answer["log_volatility"]), digits=4), f"{cpu:.2f} CPU s"),
        "cpu": Reading(cpu, "CPU s to the first answer"),
        "memory": Reading(memory, "MiB at most"),
    }


def _once(command: list[str], body: bytes) -> tuple[float, float, float, dict[str, Any]]:
    """Wall and CPU seconds from the start to the first answer, largest memory, the answer."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = ""
        while '"url"' not in line:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"{' '.join(command)} ended before it served")
        url = line.partition(": ")[2].strip().strip('",')
        request = urllib.request.Request(f"{url}/v1/forecast", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as told:
            answer = json.loads(told.read())
        seconds = time.perf_counter() - start
        used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        cpu = (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")
        status = Path(f"/proc/{process.pid}/status").read_text()
        memory = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    finally:
        process.terminate()
        process.wait(30)
    return seconds, cpu, memory, answer


def _candelabra(small: bool) -> dict[str, Reading]:
    return _first_answer([sys.executable, "-m", "candelabra", "serve", str(_kept() / "bundle"), "--port", "0", "--json"])


def _torch(small: bool) -> dict[str, Reading]:
    return _first_answer([sys.executable, "-m", "bench.rivals.torch_service", str(_kept() / "bundle")])


def _half(figure: str) -> Goal:
    return Goal("candelabra", figure, lambda v: v["candelabra"][figure] / v["torch and FastAPI"][figure], "<= 0.5")


ITEMS = (
    Item(
        "trust/serving",
        "start of a serving process to its first answer to raw candles, `small`",
        {"candelabra": Tool(_candelabra, ("torch", "fastapi")), "torch and FastAPI": Tool(_torch, ("torch", "fastapi"))},
        (
            Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 1.5", absolute=True),
            _half("cpu"),
            Goal("candelabra", "memory", lambda v: v["candelabra"]["memory"], "<= 250"),
            Goal("torch and FastAPI", "memory", lambda v: v["candelabra"]["memory"] / v["torch and FastAPI"]["memory"], "<= 0.5"),
            Goal("torch and FastAPI", "", lambda v: v["candelabra"][""] / v["torch and FastAPI"][""], "<= 0.5"),
        ),
        reference="torch and FastAPI",
        rounds=3,
    ),
)
