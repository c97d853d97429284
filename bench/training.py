"""Training speed at 3.2 M parameters, time to a loss on real candles, and what bf16 costs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.item import Absent, Goal, Item, Reading, Tool
from bench.networks import BARS, BATCH, CHANNELS, large, training_flops
from bench.timing import matmul_flops

_ROOT = Path(__file__).resolve().parents[1]
_KEPT = _ROOT / ".benchmarks"


class _Clock:
    """CPU seconds between steps, with a short look at the matmul peak after each: both see the same neighbours."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.peaks: list[float] = []
        self._last = 0.0

    def begin(self) -> None:
        self._last = time.process_time()

    def tick(self) -> None:
        self.steps.append(time.process_time() - self._last)
        self.peaks.append(matmul_flops("bfloat16", 5))
        self.begin()


def _speed(compiled: bool) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        import torch

        from candelabra.training.loop import train_network
        from candelabra.training.settings import TrainingSettings
        from candelabra.windows.batches import SequenceBatches, SequencePart

        torch.set_num_threads(1)
        random = np.random.default_rng(0)
        rows = 4000
        part = SequencePart(
            {"1h": random.normal(size=(rows, CHANNELS)).astype(np.float32)}, {}, random.normal(size=(rows, 2)).astype(np.float32), (0, rows)
        )
        batches = SequenceBatches([part], base="1h", aligned=(), coarse={}, links=(), length=BARS)
        clock = _Clock()
        network = large()
        task = _Task(network, compiled, clock)
        warm, steps = (1, 2) if small else (4, 14)
        settings = TrainingSettings(batch_size=BATCH, steps=warm + steps, evaluate_every=10_000, threads=1, precision="bfloat16")
        train_network(task, batches, settings, seed=0, stride=1, precision="bfloat16")
        seconds, peak = float(np.median(clock.steps[warm + 1 :])), float(np.median(clock.peaks[warm + 1 :]))
        rate = BATCH / seconds
        share = 100 * rate * training_flops(network) / peak
        first = f"first step {clock.steps[1]:.1f} CPU s; dropout 0.1; one thread"
        return {
            "": Reading(rate, "windows/CPU s", note=first),
            "share": Reading(share, "% of the bf16 matmul peak", note=f"peak beside it {peak / 1e9:.0f} GFLOP/s per CPU second"),
            "targets": Reading(rate * BARS, "supervised bars/CPU s"),
        }

    return run


class _Task:
    """The quantile and volatility loss at every bar, as the product trains (no masked warm-up: the band is the window)."""

    def __init__(self, network: Any, compiled: bool, clock: _Clock) -> None:
        import torch

        from candelabra.models.base import QUANTILE_LEVELS
        from candelabra.models.heads import forecast_loss

        self.module, self._clock = network, clock
        levels, unit = torch.tensor(QUANTILE_LEVELS), torch.ones(1)

        def loss(x: Any, targets: Any) -> Any:
            quantiles, volatility = network({"1h": x}, {})
            return forecast_loss(quantiles, volatility, targets[..., :1], targets[..., 1:], levels, unit, 1.0)

        self._loss = torch.compile(loss) if compiled else loss

    def loss(self, batch: Any) -> Any:
        self._clock.tick()
        return self._loss(batch.x["1h"], batch.targets)

    def validate(self) -> tuple[float, list[float]]:
        return 0.0, []


def _speed_brief(small: bool) -> dict[str, Reading]:
    import torch

    from bench.rivals.brief_training import new_model, steps

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, y = torch.randn(640, BARS, CHANNELS), torch.randn(640, 1)
    clock = _Clock()
    clock.begin()
    for count, _ in enumerate(steps(new_model(CHANNELS, BARS), x, y), 1):
        clock.tick()
        if count == (3 if small else 10):
            break
    seconds = float(np.median(clock.steps[1 if small else 2 :]))
    return {
        "": Reading(BATCH / seconds, "windows/CPU s", note="float32, dropout 0.1; one thread"),
        "targets": Reading(BATCH / seconds, "supervised bars/CPU s"),
    }


def _times(tool: str, figure: str = "") -> Callable[[Any], float]:
    return lambda v: v[tool][figure] / v["the brief's loop"][figure]


TRAINING = Item(
    "main/training",
    "training steps at 3.2 M parameters (d 256, 4 layers, 60 bars x 11 features, batch 32)",
    {
        "the brief's loop": Tool(_speed_brief, ("torch", "transformers")),
        "candelabra": Tool(_speed(False), ("torch",)),
        "candelabra compiled": Tool(_speed(True), ("torch",)),
    },
    (
        Goal("candelabra", "", _times("candelabra"), ">= 3"),
        Goal("candelabra compiled", "", _times("candelabra compiled"), ">= 4.5"),
        Goal("candelabra", "share", lambda v: v["candelabra"]["share"], ">= 40"),
        Goal("candelabra compiled", "share", lambda v: v["candelabra compiled"]["share"], ">= 60"),
    ),
    rounds=2,
    in_small=False,
)


# Real candles: the same inputs, target and validation windows for both.


@dataclass(frozen=True)
class _Problem:
    """``x`` ``(bars, 11)`` standardised on train, ``y`` ``(bars,)`` standardised; windows end at bars of train or validation."""

    x: Any
    y: Any
    train: tuple[int, int]
    validation: Any

    def windows(self, ends: Any) -> Any:
        return self.x[ends[:, None] + np.arange(1 - BARS, 1)]


def _real(train_bars: int) -> _Problem:
    """BTC 1h: eleven level-free features, and the next 24 hours' log realised volatility relative to the current level."""
    from candelabra.features.catalog import compute
    from candelabra.features.volatility import level
    from candelabra.sources import read_candles

    folder = Path(os.environ.get("CANDELABRA_DATA", _ROOT.parent / "shared" / "data")) / "ohlcv"
    file = folder / "binance_BTCUSDT_1h.parquet"
    if not file.exists():
        raise Absent(f"real candles are not here: no {file} (set CANDELABRA_DATA to a folder that has ohlcv/)")
    candles = read_candles(file, symbol="BTC/USDT")
    candles = candles[0] if isinstance(candles, (list, tuple)) else candles
    specs = (
        "scaled_return(1)", "scaled_return(6)", "scaled_return(24)", "scaled_return(168)", "rel_log_parkinson(1)", "rel_log_rv(6)",
        "rel_log_rv(24)", "rel_log_rv(168)", "close_position(24)", "rel_volume(24)", "rel_volume(168)",
    )  # fmt: skip
    x = compute(candles, specs).values.astype(np.float64)
    squared = np.concatenate([[0.0], np.cumsum(np.diff(np.log(candles.close)) ** 2)])
    y = np.full(len(x), np.nan)
    y[:-24] = 0.5 * np.log((squared[24:] - squared[:-24]) / 24) - level(candles)[:-24]
    stop = int(0.7 * len(x))
    train = (stop - train_bars, stop)
    inside = slice(*train)
    x = (x - np.nanmean(x[inside], 0)) / np.nanstd(x[inside], 0)
    y = (y - np.nanmean(y[inside])) / np.nanstd(y[inside])
    ends = np.arange(stop + 24, stop + 24 + 5000, 10)
    return _Problem(np.nan_to_num(x).astype(np.float32), np.nan_to_num(y).astype(np.float32), train, ends)


_BUDGET = 120.0
"""CPU seconds of training the brief's loop is given."""
_TRAIN_BARS = 6000


def _brief_to_best(small: bool) -> dict[str, Reading]:
    import torch

    from bench.rivals.brief_training import new_model, steps, validation_loss

    torch.set_num_threads(1)
    torch.manual_seed(0)
    problem = _real(_TRAIN_BARS)
    ends = np.arange(problem.train[0] + BARS, problem.train[1] - 24)
    x, y = torch.from_numpy(problem.windows(ends)), torch.from_numpy(problem.y[ends])[:, None]
    check = torch.from_numpy(problem.windows(problem.validation)), torch.from_numpy(problem.y[problem.validation])[:, None]
    model = new_model(CHANNELS, BARS)
    budget = 4.0 if small else _BUDGET
    spent, best, when, epochs = 0.0, np.inf, 0.0, 0
    while spent < budget:
        epochs += 1
        began = time.process_time()
        for count, _ in enumerate(steps(model, x, y), 1):
            if count % 20 == 0:
                spent += time.process_time() - began
                loss = validation_loss(model, *check)
                if loss < best:
                    best, when = loss, spent
                if spent >= budget:
                    break
                began = time.process_time()
    _KEPT.mkdir(exist_ok=True)
    (_KEPT / "brief_best.json").write_text(json.dumps({"loss": best, "small": small}))
    note = f"best validation loss {best:.4f} within {budget:.0f} CPU s, pass {epochs} of its data"
    return {
        "": Reading(when, "CPU s to its best", note=note),
        "loss": Reading(best, "validation MSE"),
    }


def _ours_to_that(small: bool) -> dict[str, Reading]:
    import torch

    torch.set_num_threads(1)
    kept = _KEPT / "brief_best.json"
    goal = json.loads(kept.read_text()) if kept.exists() else {"small": not small}
    if goal["small"] != small:
        raise Absent("the brief's best loss of this run is not there: its loop must run first")
    spent, loss, bars = 0.0, np.inf, 0
    for spent, loss, bars in dense_training(_real(_TRAIN_BARS), large(), "bfloat16", seed=0, steps=200, every=2):  # noqa: B007
        if loss <= goal["loss"]:
            break
    note = f"validation loss {loss:.4f}, the brief's best {goal['loss']:.4f}; {bars:,} supervised bars"
    if loss > goal["loss"]:
        return {"loss": Reading(loss, "validation MSE", note=f"never reached the brief's best. {note}")}
    return {"": Reading(spent, "CPU s to the same", note=note), "loss": Reading(loss, "validation MSE")}


def dense_training(problem: _Problem, network: Any, precision: str, *, seed: int, steps: int, every: int) -> Any:
    """Train as the product does: loss at every bar, AdamW, clipping; averaged weights are judged.

    Yields (CPU seconds of training, validation loss, bars learned from).
    """
    import copy

    import torch

    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.05, foreach=True)
    average = copy.deepcopy(network).eval()
    check = torch.from_numpy(problem.windows(problem.validation)), torch.from_numpy(problem.y[problem.validation])
    first, last = problem.train[0] + BARS, problem.train[1] - 24
    spent, masked = 0.0, BARS // 2
    for step in range(1, steps + 1):
        began = time.process_time()
        network.train()
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, step / 10)
        rows = random.integers(first, last, BATCH)[:, None] + np.arange(1 - BARS, 1)
        x, y = torch.from_numpy(problem.x[rows]), torch.from_numpy(problem.y[rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            answer = network({"1h": x}, {})[1][..., 0]
        loss = ((answer - y)[:, masked:] ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - min(0.98, (1 + step) / (10 + step)))
        spent += time.process_time() - began
        if step % every == 0:
            with torch.inference_mode():
                error = average({"1h": check[0]}, {})[1][:, -1, 0] - check[1]
            yield spent, float((error**2).mean()), step * BATCH * (BARS - masked)


TO_LOSS = Item(
    "main/training-to-loss",
    "CPU time to the brief loop's best validation loss on BTC 1h: next 24 hours' volatility, 3.2 M parameters, evaluation not counted",
    {
        "the brief's loop": Tool(_brief_to_best, ("torch", "transformers", "pyarrow")),
        "candelabra": Tool(_ours_to_that, ("torch", "pyarrow")),
    },
    (Goal("candelabra", "", lambda v: v["candelabra"][""] / v["the brief's loop"][""], "<= 0.05"),),
    rounds=1,
    in_small=False,
)


def _skill(precision: str) -> Callable[[bool], dict[str, Reading]]:
    def run(small: bool) -> dict[str, Reading]:
        import torch

        torch.set_num_threads(1)
        problem = _real(_TRAIN_BARS)
        centred = problem.y[problem.validation] - problem.y[problem.train[0] : problem.train[1]].mean()
        found = []
        for seed in range(1 if small else 3):
            torch.manual_seed(seed)
            network = _middle(seed)
            count, every = (4, 2) if small else (90, 10)
            losses = [loss for _, loss, _ in dense_training(problem, network, precision, seed=seed, steps=count, every=every)]
            found.append(1 - min(losses) / float((centred**2).mean()))
        text = ", ".join(f"{r:.4f}" for r in found)
        return {"": Reading(float(np.mean(found)), "validation R2", note=f"best of each seed: {text}; judged in float32")}

    return run


def _middle(seed: int) -> Any:
    import torch

    from candelabra.models.arms import ArmsLayout, ArmsNetwork
    from candelabra.models.settings import ArmsSettings

    torch.manual_seed(seed)
    settings = ArmsSettings(width=128, layers=4, heads=4, attention_width=BARS)
    reference = np.linspace(-2, 2, 21, dtype=np.float32)[None]
    return ArmsNetwork(settings, ArmsLayout("1h", (), (), {"1h": CHANNELS}), reference, np.ones(1, np.float32))


PRECISION = Item(
    "main/training-precision",
    "validation R2 on BTC 1h after training in bf16 autocast and in float32 (d 128, 3 seeds, same batches)",
    {p: Tool(_skill(p), ("torch", "pyarrow")) for p in ("float32", "bfloat16")},
    (Goal("bfloat16", "", lambda v: v["bfloat16"][""] - v["float32"][""], ">= -0.01"),),
    rounds=1,
    in_small=False,
)

ITEMS = (TRAINING, TO_LOSS, PRECISION)
