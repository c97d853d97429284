"""ONNX Runtime against torch: a full window, and the cached step."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench import networks
from bench.item import Goal, Item, Reading, Tool
from bench.timing import cpu_seconds

_BARS = 2400


def _inputs(rows: np.ndarray) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Full windows that end at base ``rows``: `x` by timeframe and `asof` by link, as the engine cuts them."""
    from candelabra.bundles.engines import OnnxNetwork
    from candelabra.models.inputs import InputSpec, windows_needed

    network, prepared = networks.small(), networks.prepared(_BARS)
    links = (("1h", "4h"), ("1h", "1d"))
    spec = InputSpec("1h", ("4h", "1d"), {}, links, {}, None, np.ones(3, np.float32))  # type: ignore[arg-type]
    engine = OnnxNetwork("arms", spec, windows_needed(network.settings, spec), (), Path())
    return [engine._windows(prepared, rows[k : k + 1]) for k in range(len(rows))]  # type: ignore[misc]


def _exported() -> tuple[Any, dict[str, int]]:
    from candelabra.models.inputs import InputSpec
    from candelabra.models.network import FittedNetwork

    spec = InputSpec("1h", ("4h", "1d"), {}, (("1h", "4h"), ("1h", "1d")), {}, None, np.ones(3, np.float32))  # type: ignore[arg-type]
    fitted = FittedNetwork("arms", spec, (networks.small(),))
    return fitted, fitted.windows


def _rows(small: bool) -> np.ndarray:
    return np.arange(_BARS - (4 if small else 24), _BARS)


def _onnx(small: bool) -> dict[str, Reading]:
    from candelabra.models.network import history_pass
    from candelabra.models.onnx_session import open_session
    from candelabra.training.export import export_graphs

    fitted, _ = _exported()
    rows = _rows(small)
    windows = _inputs(rows)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        paths = export_graphs(fitted, Path(folder))
        sealing = time.process_time() - start
        size = sum(p.stat().st_size for p in paths) / 2**20
        session = open_session(paths[0], "the window")
        answers = [session.run(None, feed)[0][0] for feed in windows]
        again = [session.run(None, feed)[0][0] for feed in reversed(windows)][::-1]
        seconds = cpu_seconds(lambda: session.run(None, windows[0]), 5 if small else 40)
    exact = history_pass(fitted.modules[0], networks.prepared(_BARS), int(rows[0]), int(rows[-1]) + 1)[0]
    error = float(np.abs(np.stack(answers) - exact).max() / np.abs(exact).max())
    moved = float(max(np.abs(a - b).max() for a, b in zip(answers, again, strict=True)))
    return {
        "": Reading(1e3 * seconds, "CPU ms per window", note=f"exported with its steps in {sealing:.1f} CPU s, {size:.1f} MiB"),
        "error": Reading(error, "largest difference to torch, relative"),
        "company": Reading(moved, "largest difference of an answer in another order"),
    }


def _torch(small: bool) -> dict[str, Reading]:
    import torch

    torch.set_num_threads(1)
    network = networks.small()
    feed = {name: torch.from_numpy(values) for name, values in _inputs(_rows(small))[0].items()}
    x = {name[2:]: values for name, values in feed.items() if name.startswith("x:")}
    asof = {name[5:]: values for name, values in feed.items() if name.startswith("asof:")}

    @torch.inference_mode()
    def window() -> Any:
        return network.head(network.hidden(x, asof)[:, -1])

    return {"": Reading(1e3 * cpu_seconds(window, 5 if small else 40, warm_up=3), "CPU ms per window")}


def _step(small: bool) -> dict[str, Reading]:
    from candelabra.bundles.steps import NetworkSteps
    from candelabra.models.network import history_pass
    from candelabra.training.export_steps import export_steps

    network, prepared = networks.small(), networks.prepared(_BARS)
    with tempfile.TemporaryDirectory() as folder:
        export_steps(network, Path(folder), 0)
        steps = NetworkSteps(Path(folder), 0, ("4h", "1d"))
    laps, answers = [], []
    days = SimpleNamespace(first=600, last=800 if small else _BARS)
    for bar in range(days.last):
        start = time.thread_time()
        for tf, ratio in (("1d", 24), ("4h", 4)):
            if (bar + 1) % ratio == 0:
                steps.push_coarse(tf, prepared.x[tf][(bar + 1) // ratio - 1])
        answers.append(steps.push(prepared.x["1h"][bar])[0])
        laps.append(1e3 * (time.thread_time() - start))
    exact = history_pass(network, prepared, days.first, days.last)[0]
    error = float(np.abs(np.stack(answers[days.first :]) - exact).max() / np.abs(exact).max())
    own = np.array(laps[days.first :])
    note = f"median {np.median(own):.2f}, p99 {np.percentile(own, 99):.2f}; after {days.first} bars, coarse bars included"
    return {
        "": Reading(float(own.mean()), "CPU ms per bar", note=f"mean; {note}"),
        "error": Reading(error, "relative to the pass over the history"),
    }


ITEMS = (
    Item(
        "trust/engine",
        "one full window of `small` (1h, 4h, 1d arms; receptive field 509 bars)",
        {"candelabra": Tool(_onnx, ("torch", "onnxruntime")), "torch eager": Tool(_torch, ("torch",))},
        (
            Goal("candelabra", "", lambda v: v["candelabra"][""] / v["torch eager"][""], "<= 0.6"),
            Goal("candelabra", "error", lambda v: v["candelabra"]["error"], "<= 1e-5"),
            Goal("candelabra", "company", lambda v: v["candelabra"]["company"], "<= 0"),
        ),
    ),
    Item(
        "trust/engine-step",
        "one new candle through the step graphs of `small`",
        {"candelabra": Tool(_step, ("torch", "onnxruntime"))},
        (
            Goal("candelabra", "", lambda v: v["candelabra"][""], "<= 0.6", absolute=True),
            Goal("candelabra", "error", lambda v: v["candelabra"]["error"], "<= 1e-5"),
        ),
    ),
)
