"""A tree is written with a word about each key and read back equal."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.config.build import configure, known_keys, nested_types, section_types
from candelabra.config.text import from_toml, json_schema, template, to_toml
from candelabra.config.tree import Config, config_hash, duration_ms
from candelabra.config.words import MODEL_WORDS, WORDS, about
from candelabra.errors import UsageError
from candelabra.models.registry import MODELS
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.training.regime_settings import RegimeSettings

LEARNERS = [name for name in MODELS.names() if name != "ensemble"]


@pytest.mark.parametrize("model", LEARNERS)
@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_every_model_at_every_size_is_read_back_equal(model: str, size: str) -> None:
    tree = configure({"model.name": model}, size=size)
    assert from_toml(to_toml(tree)) == tree


FLOATS = st.floats(1e-6, 0.99)


@given(
    seed=st.integers(0, 2**40),
    symbols=st.lists(st.text(min_size=1, max_size=12), max_size=3, unique=True),
    paths=st.lists(st.text(max_size=20), max_size=3),
    clip=st.none() | FLOATS,
    fill=st.none() | st.floats(-5, 5),
    rate=FLOATS,
    dropout=FLOATS,
    fine=st.sampled_from([(), ("5m",), ("15m", "5m")]),
    seeds=st.integers(1, 9),
    flips=st.none() | FLOATS,
)
def test_any_tree_is_read_back_equal(
    seed: int, symbols: list[str], paths: list[str], clip: float | None, fill: float | None, rate: float, dropout: float,
    fine: tuple[str, ...], seeds: int, flips: float | None,
) -> None:  # fmt: skip
    values: dict[str, Any] = {"seed": seed, "candles.symbols": symbols, "candles.paths": paths, "scaling.clip": clip, "scaling.fill": fill}
    values |= {"training.learning_rate": rate, "training.seeds": seeds, "model.dropout": dropout, "timeframes.fine": fine}
    values |= {"regimes.bounds.flips": flips, "regimes.training.seeds": seeds, "regimes.network.dropout": dropout, "regimes.only": True}
    tree = configure(values)
    again = from_toml(to_toml(tree))
    assert again == tree
    assert config_hash(again) == config_hash(tree)


def test_the_hash_changes_with_every_setting_but_the_place_of_candles_and_labels() -> None:
    base = config_hash(Config())
    others = [
        configure(seed=1),
        configure(size="tiny"),
        configure({"model.dropout": 0.33}),
        configure({"candles.symbols": ["BTC/USDT"]}),
        configure({"windows.embargo": "1h"}),
        configure({"baselines": ["zero"]}),
        configure({"regimes.training.steps": 7}),
        configure({"regimes.network.width": 7}),
        configure({"regimes.encoder": "transformer"}),
        configure({"regimes.transformer.attention_width": 7}),
        configure({"regimes.bounds.delay": 7.0}),
    ]
    assert len({base, *(config_hash(o) for o in others)}) == 1 + len(others)
    assert config_hash(configure({"candles.paths": ["here.csv"], "regimes.labels": "there.csv"})) == base


def test_every_key_has_a_word_about_it() -> None:
    for settings in (ArmsSettings, Gpt2Settings):
        assert [key for key in known_keys(settings) if not about(key)] == []
    assert set(MODEL_WORDS) == {f.name for settings in (ArmsSettings, Gpt2Settings) for f in fields(settings)}
    elsewhere = ("model.", "regimes.training.")  # described by MODEL_WORDS, and as keys of training
    own = {k for k in known_keys() if not k.startswith(elsewhere) or k == "model.name"}
    nested = {f"regimes.{name}" for name in nested_types(RegimeSettings)}
    assert sorted(WORDS) == sorted({*own, *section_types(), *nested})


def test_a_written_file_shows_every_key_with_its_comment() -> None:
    text = to_toml(Config())
    for key in known_keys():
        name = key.rpartition(".")[2]
        line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
        assert "# " in line


def test_a_template_changes_nothing_and_names_everything() -> None:
    text = template(Config())
    assert from_toml(text) == Config()
    assert from_toml(text.replace('# size = "small"', 'size = "tiny"')) == configure(size="tiny")
    for key in known_keys():
        assert f"# {key.rpartition('.')[2]} = " in text


def test_the_schema_describes_what_is_written() -> None:
    schema = json_schema()
    values = json.loads(json.dumps(Config().as_dict()))
    assert set(values) == set(schema["properties"])
    for section, own in values.items():
        if section == "model":
            arms = next(s for s in schema["properties"]["model"]["oneOf"] if s["title"] == "arms")
            assert set(own) == set(arms["properties"])
        elif isinstance(own, dict):
            described = schema["properties"][section]["properties"]
            assert set(own) == set(described)
            for key, inner in own.items():
                assert not isinstance(inner, dict) or set(inner) == set(described[key]["properties"])
    assert "$ref" not in json.dumps(schema)
    described = schema["properties"]["regimes"]["properties"]
    for inner in ("training", "bounds"):  # whose defaults here are not those of their classes
        assert {key: own["default"] for key, own in described[inner]["properties"].items()} == values["regimes"][inner]
    assert schema["properties"]["regimes"]["properties"]["bounds"]["properties"]["flips"]["description"].startswith("changes of regime")
    assert {s["title"] for s in schema["properties"]["model"]["oneOf"]} == set(LEARNERS)


def test_the_tree_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Config().seed = 3  # type: ignore[misc]
    assert replace(Config(), seed=3).seed == 3


@pytest.mark.parametrize(("text", "ms"), [("0h", 0), ("90m", 5_400_000), ("7d", 604_800_000), ("2w", 1_209_600_000), ("10s", 10_000)])
def test_a_length_of_time_is_read(text: str, ms: int) -> None:
    assert duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "h", "-1h", "1.5h", "1 month", "1M", "7"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="as in 24h or 7d"):
        duration_ms(text)
