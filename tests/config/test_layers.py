"""Settings come from defaults, a file, the environment, arguments and --set, in this order."""

from __future__ import annotations

from pathlib import Path

import pytest

from candelabra.config.build import configure, load
from candelabra.config.tree import Config
from candelabra.errors import UsageError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "candelabra.toml"
    path.write_text('seed = 1\n\n[training]\nsteps = 11\nbatch_size = 4\nseeds = 2\n\n[candles]\nsymbols = ["BTC/USDT"]\n')
    return path


def test_nothing_given_is_the_default_tree(tmp_path: Path) -> None:
    assert load(environment={}, folder=tmp_path) == Config()


def test_each_source_overrules_the_one_before(file: Path) -> None:
    environment = {"CANDELABRA_TRAINING__BATCH_SIZE": "5", "CANDELABRA_TRAINING__SEEDS": "3", "CANDELABRA_SIZE": "tiny"}
    tree = load(file, environment=environment, values={"training.seeds": 4, "training.threads": 1}, assignments=["training.threads=2"])
    assert tree.seed == 1
    assert tree.training.steps == 11
    assert tree.training.batch_size == 5
    assert tree.training.seeds == 4
    assert tree.training.threads == 2
    assert tree.size == "tiny"


def test_the_file_of_the_working_folder_is_found_and_a_named_one_wins(file: Path, tmp_path: Path) -> None:
    assert load(environment={}, folder=tmp_path).seed == 1
    other = tmp_path / "other.toml"
    other.write_text("seed = 9\n")
    assert load(other, environment={}, folder=tmp_path).seed == 9


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("windows.horizons=1h,24h", ("1h", "24h")),
        ('windows.horizons=["1h", "24h"]', ("1h", "24h")),
        ("windows.horizons=24h", ("24h",)),
        ("windows.horizons= 1h , 6h ", ("1h", "6h")),
    ],
)
def test_a_list_is_written_with_commas_or_as_in_toml(text: str, wanted: tuple[str, ...]) -> None:
    assert load(environment={}, assignments=[text]).windows.horizons == wanted


def test_commas_inside_a_feature_do_not_split_it() -> None:
    tree = load(environment={}, assignments=["features.base=rsi(14),macd(12,26,9).signal"])
    assert tree.features.base == ("rsi(14)", "macd(12,26,9).signal")


@pytest.mark.parametrize("spelling", ["none", "None", '"none"'])
def test_none_can_be_said(spelling: str, tmp_path: Path) -> None:
    assert load(environment={"CANDELABRA_SCALING__CLIP": spelling.strip('"')}, folder=tmp_path).scaling.clip is None


def test_the_size_dial_sets_what_is_not_said_and_nothing_else() -> None:
    assert configure(size="tiny").model.settings.width == 32
    assert configure(size="tiny").training.steps < configure().training.steps
    # A width that is said holds, even when it is the default of another size.
    chosen = configure({"model.width": 128, "model.heads": 4, "training.steps": 1500}, size="tiny")
    assert (chosen.model.settings.width, chosen.training.steps) == (128, 1500)
    assert chosen.model.settings.layers == 2


def test_the_keys_of_model_are_those_of_the_model_named() -> None:
    assert configure({"model.name": "gpt2", "model.context_length": 64}).model.settings.context_length == 64
    assert configure({"model.name": "lightgbm", "model.rounds": 7}).model.settings.rounds == 7
    with pytest.raises(UsageError, match=r"unknown setting model\.context_length"):
        configure({"model.context_length": 64})


def test_the_ensemble_holds_the_model_that_is_trained() -> None:
    assert configure({"model.name": "gpt2"}).ensemble.members == ("gpt2", "harx_lightgbm")
    assert configure({"model.name": "harx_lightgbm"}).ensemble.members == ("harx_lightgbm",)
    assert configure({"model.name": "gpt2", "ensemble.members": []}).ensemble.members == ()


def test_realised_volatility_is_of_the_finest_timeframe_unless_said() -> None:
    assert configure().recipe().volatility_timeframe.name == "1h"
    assert configure({"timeframes.fine": ["15m", "5m"]}).recipe().volatility_timeframe.name == "5m"
    assert configure({"timeframes.fine": ["5m"], "timeframes.volatility": "1h"}).recipe().volatility_timeframe.name == "1h"


def test_variables_of_other_programs_are_left_alone() -> None:
    assert load(environment={"CANDELABRA_DATA": "/somewhere", "CANDELABRA_DEBUG": "1", "PATH": "x"}) == load(environment={})
