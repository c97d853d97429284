"""Beginning a run from another run's bundle: only from one that knew nothing later, of the same horizons, with networks in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from candelabra.bundles.format import read_manifest
from candelabra.candles.frame import Candles, format_minute
from candelabra.config.tree import CandlesSection, Config, EnsembleSection, FeaturesSection, ModelSection, TimeframesSection, WindowsSection
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.settings import ArmsSettings
from candelabra.pipeline.material import prepare
from candelabra.pipeline.start import starting_networks
from candelabra.pipeline.train import train
from candelabra.testing import example_candles
from candelabra.training.settings import TrainingSettings

pytestmark = pytest.mark.slow

CONFIG = Config(
    seed=3,
    timeframes=TimeframesSection(base="1h", coarse=("4h",)),
    features=FeaturesSection(base=("return(1)", "log_rv(6)", "range"), coarse=("return(1)", "range")),
    windows=WindowsSection(horizons=("1h", "6h")),
    model=ModelSection(
        "arms",
        ArmsSettings(width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, anchor="har"),
    ),
    training=TrainingSettings(
        sequence_length=48, batch_size=4, steps=6, evaluate_every=3, warmup_steps=2, rehearsal=0.0, precision="float32", threads=1
    ),
    ensemble=EnsembleSection(members=("arms", "har")),
    baselines=("zero", "har"),
)
CONFIG = replace(CONFIG, evaluation=replace(CONFIG.evaluation, resamples=100))


@pytest.fixture(scope="module")
def candles() -> list[Candles]:
    return [example_candles("1h", 4000, seed=8, symbol="AAA/USDT")]


@pytest.fixture(scope="module")
def others() -> list[Candles]:
    return [example_candles("1h", 4000, seed=9, symbol="BBB/USDT")]


def up_to_training(config: Config, candles: list[Candles]) -> Config:
    """The config with ``candles.until`` at the end of the training range that ``candles`` have."""
    cut = prepare(candles, config).split.cuts_ms[1]
    return replace(config, candles=CandlesSection(until=format_minute(cut).replace(" ", "T")))


@pytest.fixture(scope="module")
def earlier(candles: list[Candles], others: list[Candles], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of another symbol that knew nothing after the training range of ``candles``."""
    return train(up_to_training(CONFIG, candles), others, folder=tmp_path_factory.mktemp("earlier") / "run").bundle


def from_bundle(bundle: Path) -> Config:
    return replace(CONFIG, training=replace(CONFIG.training, start_from=str(bundle)))


def test_a_run_begins_from_an_earlier_bundle(candles: list[Candles], earlier: Path, tmp_path: Path) -> None:
    run = train(from_bundle(earlier.parent), candles, folder=tmp_path / "run")  # the run's folder will do
    rows = [json.loads(line) for line in (run.folder / "checkpoints/arms/seed-3/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 3, 6]
    assert rows[0]["train_loss"] is None
    assert not (run.folder / "checkpoints/arms/rehearsal").exists()
    assert run.report.is_file()
    assert not [note for note in run.notes if "CHECK FAILED" in note]


def test_until_leaves_later_bars_out(earlier: Path, candles: list[Candles]) -> None:
    cut = prepare(candles, CONFIG).split.cuts_ms[1]
    manifest = read_manifest(earlier)
    assert manifest.data["BBB/USDT"]["last_ms"] <= cut
    with pytest.raises(DataError, match=r"no bar between the dates.*change candles\.since"):
        prepare(candles, replace(CONFIG, candles=CandlesSection(since="2091-01-01")))


def test_weights_that_know_later_candles_are_refused(others: list[Candles], candles: list[Candles], tmp_path: Path) -> None:
    late = train(replace(CONFIG, baselines=("zero",)), others, folder=tmp_path / "run").bundle
    with pytest.raises(DataError, match=r"know that market already\. Train the bundle to start from on earlier candles: .*--until \d{4}-"):
        train(from_bundle(late), candles, folder=tmp_path / "next")
    assert not (tmp_path / "next").exists()


def test_other_horizons_a_changed_bundle_and_none_are_refused(earlier: Path, candles: list[Candles], tmp_path: Path) -> None:
    config = from_bundle(earlier)
    material = prepare(candles, config)
    far = replace(config, windows=replace(config.windows, horizons=("1h", "12h")))
    with pytest.raises(UsageError, match=r"foretells 1, 6 bars ahead, this run 1, 12"):
        starting_networks(far, far.recipe(), material.split)
    with pytest.raises(BundleError, match="is not a bundle"):
        starting_networks(from_bundle(tmp_path), config.recipe(), material.split)
    assert starting_networks(CONFIG, CONFIG.recipe(), material.split) == {}
    found = starting_networks(config, config.recipe(), material.split)
    assert set(found) == {"arms"}
    assert np.isfinite(found["arms"].modules[0].head.linear.weight.detach().numpy()).all()
