"""The loop: the same seed gives the same weights to the bit, also after an interruption; nothing is half-written; signals are learned."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candelabra.errors import DataError, SourceError
from candelabra.features.scaling import ScalerSettings
from candelabra.models.base import FitData
from candelabra.models.network import FittedNetwork
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.testing import example_candles, example_data, example_recipe
from candelabra.training.fit import fit_network
from candelabra.training.settings import TrainingSettings

RECIPE = example_recipe(coarse=("4h",), fine=())
TINY = ArmsSettings(
    width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=6,
    dropout=0.2, arm_dropout=0.2,
)  # fmt: skip
GPT2 = Gpt2Settings(width=16, layers=1, heads=2, context_length=16, dropout=0.2)
SHORT = TrainingSettings(
    sequence_length=48, batch_size=4, steps=12, evaluate_every=3, warmup_steps=4, patience=8, rehearsal=0.0, precision="float32",
    threads=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> FitData:
    candles = [example_candles("1h", 900, seed=k, symbol=f"SIM{k}/USDT") for k in (1, 2)]
    return example_data(candles, RECIPE, seed=5)[0]


def train(
    data: FitData, settings: Any = TINY, training: TrainingSettings = SHORT, folder: Path | None = None, progress: Any = None
) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Weights and history of the (last) network."""
    anchor = new_model("persistence").fit(data)
    fitted, runs = fit_network(data, settings, training, ScalerSettings(fill=0.0), folder=folder, progress=progress, anchor=anchor)
    history = [{k: v for k, v in row.items() if k != "cpu_seconds"} for row in runs[-1].history]
    return fitted.modules[-1].state_dict(), history


def same_bits(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class PlugPulled(Exception):
    pass


def pulled_after(evaluations: int) -> Callable[[int], Callable[..., None]]:
    """A progress that interrupts the training after some evaluations, counted over all networks."""
    left = [evaluations]

    def of_seed(_: int) -> Callable[..., None]:
        def report(*_: float) -> None:
            left[0] -= 1
            if left[0] == 0:
                raise PlugPulled

        return report

    return of_seed


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(data: FitData) -> None:
    one, history = train(data)
    torch.randn(7)  # what happened before does not matter
    assert same_bits(one, train(data)[0])
    assert not same_bits(one, train(replace(data, seed=6))[0])
    assert [row["step"] for row in history] == [3, 6, 9, 12]


@pytest.mark.parametrize(
    ("settings", "precision"), [(TINY, "float32"), (TINY, "bfloat16"), (replace(TINY, fusion="hierarchical"), "float32"), (GPT2, "float32")]
)
def test_interrupted_and_resumed_a_training_ends_at_the_same_bits(settings: Any, precision: Any, data: FitData, tmp_path: Path) -> None:
    training = replace(SHORT, precision=precision)
    whole, history = train(data, settings, training)
    with pytest.raises(PlugPulled):
        train(data, settings, training, tmp_path, pulled_after(2))
    torch.randn(7)
    resumed, resumed_history = train(data, settings, training, tmp_path)
    assert same_bits(whole, resumed)
    assert resumed_history == history
    assert [json.loads(line)["step"] for line in (tmp_path / "seed-5" / "metrics.jsonl").read_text().splitlines()] == [3, 6, 9, 12]


@pytest.mark.parametrize("evaluations", [6, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 4, 9))])
def test_a_rehearsal_and_several_seeds_resume_wherever_they_were_interrupted(evaluations: int, data: FitData, tmp_path: Path) -> None:
    training = replace(SHORT, rehearsal=0.4, seeds=2, sequence_length=32)
    whole, history = train(data, TINY, training, tmp_path / "whole")
    assert (tmp_path / "whole" / "rehearsal" / "checkpoint.safetensors").exists()
    with pytest.raises(PlugPulled):
        train(data, TINY, training, tmp_path / "cut", pulled_after(evaluations))
    resumed, resumed_history = train(data, TINY, training, tmp_path / "cut")
    assert same_bits(whole, resumed)
    assert resumed_history == history


def test_resuming_a_finished_training_trains_nothing_and_gives_its_weights(data: FitData, tmp_path: Path) -> None:
    whole, history = train(data, folder=tmp_path)
    called: list[tuple[float, ...]] = []
    again, same_history = train(data, folder=tmp_path, progress=lambda _: lambda *row: called.append(row))
    assert same_bits(whole, again)
    assert same_history == history
    assert called == []


def test_a_training_stops_early_and_keeps_the_best_weights(data: FitData, tmp_path: Path) -> None:
    training = replace(SHORT, steps=60, evaluate_every=2, patience=2, learning_rate=0.3, averaging=0.0)  # soon worse than at the start
    anchor = new_model("persistence").fit(data)
    fitted, (run,) = fit_network(data, TINY, training, ScalerSettings(fill=0.0), anchor=anchor)
    assert run.steps == run.best_step + 4 < 60
    assert "2 evaluations" in run.reason
    assert run.best_loss == min(row["validation_loss"] for row in run.history)
    assert not fitted.modules[0].training


def flip(path: Path, place: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 0x10
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x80\x04not a checkpoint"),
        lambda path: flip(path, 0.001),
        lambda path: flip(path, 0.5),
        lambda path: flip(path, 0.99),
    ],
    ids=["cut", "empty", "other", "header", "middle", "end"],
)
def test_a_damaged_checkpoint_is_refused_with_its_name(damage: Callable[[Path], None], data: FitData, tmp_path: Path) -> None:
    train(data, training=replace(SHORT, steps=3), folder=tmp_path)
    path = tmp_path / "seed-5" / "checkpoint.safetensors"
    damage(path)
    with pytest.raises(DataError, match=r"checkpoint.safetensors cannot be read .*: delete it to begin"):
        train(data, training=replace(SHORT, steps=3), folder=tmp_path)


def test_a_checkpoint_of_another_network_is_refused(data: FitData, tmp_path: Path) -> None:
    train(data, training=replace(SHORT, steps=3), folder=tmp_path)
    with pytest.raises(DataError, match=r"is of another network .*, 16\) there, .*, 24\) here"):
        train(data, replace(TINY, width=24), replace(SHORT, steps=3), tmp_path)


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """Files cannot grow beyond ``size`` bytes: what a full disk looks like to a program."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_clear_error_and_what_was_there_still_resumes(data: FitData, tmp_path: Path) -> None:
    whole, _ = train(data)
    with pytest.raises(PlugPulled):
        train(data, folder=tmp_path, progress=pulled_after(1))
    path = tmp_path / "seed-5" / "checkpoint.safetensors"
    kept = path.read_bytes()
    with file_limit(len(kept) // 2), pytest.raises(SourceError, match=r"cannot write .*checkpoint.safetensors.*what was there is kept"):
        train(data, folder=tmp_path)
    assert path.read_bytes() == kept
    assert sorted(p.name for p in path.parent.iterdir()) == ["checkpoint.safetensors", "metrics.jsonl"]
    assert same_bits(whole, train(data, folder=tmp_path)[0])


CHILD = """
import sys
from pathlib import Path
import candelabra.testing as t
from candelabra.features.scaling import ScalerSettings
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings
from candelabra.training.fit import fit_network
from candelabra.training.settings import TrainingSettings
candles = [t.example_candles("1h", 900, seed=k, symbol=f"SIM{{k}}/USDT") for k in (1, 2)]
data = t.example_data(candles, t.example_recipe(coarse=("4h",), fine=()), seed=5)[0]
def progress(_):
    return lambda *row: print("evaluated", *row, flush=True)
fit_network(data, {settings!r}, {training!r}, ScalerSettings(fill=0.0), folder=Path(sys.argv[1]), progress=progress,
            anchor=new_model("persistence").fit(data))
"""


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_at_any_moment_a_training_resumes_to_the_same_bits(precision: Any, data: FitData, tmp_path: Path) -> None:
    training = replace(SHORT, steps=60, precision=precision)
    whole, history = train(data, TINY, training)
    code = CHILD.format(settings=TINY, training=training)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        for _ in range(5):
            assert child.stdout.readline().startswith("evaluated")
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    steps = [row["step"] for row in map(json.loads, (tmp_path / "seed-5" / "metrics.jsonl").read_text().splitlines())]
    assert 15 <= steps[-1] < 60
    resumed, resumed_history = train(data, TINY, training, tmp_path)
    assert same_bits(whole, resumed)
    assert resumed_history == history


def planted(data: FitData, timeframe: str) -> FitData:
    """Volatility to come is the anchor's forecast, moved by the newest return of one timeframe: something only to be read there."""
    anchor = new_model("persistence").fit(data)
    targets = []
    for series, own in zip(data.series, data.targets, strict=True):
        returns = series.features[timeframe].column("return(1)").astype(np.float64)
        if timeframe != series.base.name:
            returns = np.where(series.asof[timeframe] >= 0, returns[series.asof[timeframe]], np.nan)
        move = np.sign(returns)[:, None]
        forecast = anchor.predict(series, np.arange(len(series))).log_volatility
        targets.append(replace(own, log_volatility=forecast + 0.5 * move))
    return replace(data, targets=tuple(targets))


def explained(data: FitData, fitted: FittedNetwork) -> float:
    """Share of the planted move that is foretold on validation rows."""
    rows = data.validation_rows[0]
    anchor = fitted.spec.anchor.predict(data.series[0], rows).log_volatility
    wanted = data.targets[0].log_volatility[rows] - anchor
    missed = data.targets[0].log_volatility[rows] - fitted.predict(data.series[0], rows).log_volatility
    return float(1 - np.nanmean(missed**2) / np.nanmean(wanted**2))


@pytest.mark.parametrize(
    ("settings", "timeframe"),
    [
        (TINY, "4h"),
        pytest.param(TINY, "1h", marks=pytest.mark.slow),
        pytest.param(replace(TINY, fusion="hierarchical"), "4h", marks=pytest.mark.slow),
        pytest.param(replace(TINY, fusion="concat"), "4h", marks=pytest.mark.slow),
        pytest.param(GPT2, "1h", marks=pytest.mark.slow),
        pytest.param(GPT2, "4h", marks=pytest.mark.slow),
    ],
)
def test_a_planted_signal_is_learned_from_the_timeframe_it_is_planted_in(settings: Any, timeframe: str, data: FitData) -> None:
    taught = planted(data, timeframe)
    anchor = new_model("persistence").fit(data)
    training = replace(SHORT, steps=150, evaluate_every=30, warmup_steps=10, learning_rate=1e-2, averaging=0.9, patience=20)
    still = replace(settings, dropout=0.0, auxiliary_weight=0.0)
    if isinstance(still, ArmsSettings):
        still = replace(still, arm_dropout=0.0)
    fitted, (run,) = fit_network(taught, still, training, ScalerSettings(fill=0.0), anchor=anchor)
    assert run.best_step > 0
    assert explained(taught, fitted) > 0.5
    assert explained(data, fitted) < 0.3  # and on candles without it there is nothing of the kind


def test_tensorboard_files_are_written_when_asked_for(data: FitData, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    train(data, training=replace(SHORT, steps=3, tensorboard=True), folder=tmp_path)
    assert any(path.name.startswith("events.") and path.stat().st_size > 0 for path in (tmp_path / "seed-5" / "tensorboard").rglob("*"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch about itself
@pytest.mark.skipif(shutil.which("c++") is None and shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_training_learns_what_an_eager_one_does(data: FitData) -> None:
    quiet = replace(TINY, dropout=0.0, arm_dropout=0.0)
    eager, compiled = (train(data, quiet, replace(SHORT, steps=6, compile=how))[1] for how in ("off", "on"))
    assert [row["step"] for row in eager] == [row["step"] for row in compiled]
    np.testing.assert_allclose([r["validation_loss"] for r in compiled], [r["validation_loss"] for r in eager], rtol=1e-4)
