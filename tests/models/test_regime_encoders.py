"""Regime networks of any kind: arrays compute what torch does, an exact receptive field, a stream, a folder, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.base_states import BaseStates
from candelabra.models.regime_encoder import EncoderSettings, Mode, RegimeEncoder
from candelabra.models.regime_encoders import encoder_stream
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.regime_transformer import RegimeTransformerSettings, distances
from candelabra.models.segmenter import Segmenter
from candelabra.models.segmenter_stream import SegmenterStream
from candelabra.regimes.decoding import DecoderSettings
from candelabra.testing.segmenters import example_regime_market, example_segmenter
from candelabra.training.regime_network import new_network, thawed

HEADS = {"1h": ("a", "b", "c"), "4h": ("a", "b")}
NEAR = RegimeTransformerSettings(width=12, layers=3, heads=2, attention_width=5, reach_growth=1)
FAR = RegimeTransformerSettings(width=12, layers=2, heads=3, attention_width=7, reach_growth=3)
KINDS: tuple[EncoderSettings, ...] = (TcnSettings(width=16, layers=5), NEAR, FAR)
MODES: tuple[Mode, ...] = ("filtered", "smoothed")


@cache
def encoder(which: EncoderSettings, mode: Mode = "filtered") -> RegimeEncoder:
    """One of weights large enough that all of it matters."""
    torch.manual_seed(0)
    module = new_network(7, which, HEADS, mode)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            if "norm" not in name:
                torch.nn.init.normal_(weights, std=0.7 * weights.shape[-1] ** -0.5)
            else:
                torch.nn.init.uniform_(weights, 0.5, 1.5)
    return module.frozen()


def inputs(bars: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(bars, 7)).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("which", KINDS)
def test_arrays_compute_what_torch_does(which: EncoderSettings, mode: Mode) -> None:
    network = encoder(which, mode)
    module = thawed(network).eval()
    for bars in (1, 2, 16, 1_100):  # fewer than a band, and more than are worked on at once
        x = inputs(bars)
        with torch.inference_mode():
            want = module(torch.from_numpy(x)[None])[0].numpy()
        np.testing.assert_allclose(network.logits(x), want, atol=1e-5 * want.std())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("which", KINDS)
def test_the_receptive_field_is_exact(which: EncoderSettings, mode: Mode) -> None:
    network, x = encoder(which, mode), inputs(400)
    other = x.copy()
    other[200] += 50
    moved = np.flatnonzero((network.logits(other) != network.logits(x)).any(axis=1)) - 200
    field = network.receptive_field - 1
    if mode == "smoothed" and which.kind == "convolution":  # its kernels are centred: the field lies on both sides
        field //= 2
    assert (moved[0], moved[-1]) == (0 if mode == "filtered" else -field, field)


def test_layers_times_a_band_is_what_neighbours_reach() -> None:
    assert NEAR.receptive_field == NEAR.layers * (NEAR.attention_width - 1) + 1
    assert FAR.receptive_field == (FAR.attention_width - 1) * (1 + 3) + 1


def test_a_band_sees_itself_and_the_bars_before_it() -> None:
    seen = distances(3, "filtered")
    assert seen.tolist() == [[-1, 2, 1, 0, -1, -1], [-1, -1, 2, 1, 0, -1], [-1, -1, -1, 2, 1, 0]]
    assert (distances(3, "smoothed") >= 0).sum(axis=1).tolist() == [5, 5, 5]


@pytest.mark.parametrize("which", KINDS)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), history=st.sampled_from([0, 1, 9, 40, 700]), sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8))
def test_a_stream_says_what_the_history_says(which: EncoderSettings, seed: int, history: int, sizes: list[int]) -> None:
    network, x = encoder(which), inputs(history + sum(sizes), seed)
    whole = network.probabilities(x)
    stream, told, at = encoder_stream(network), [], history
    if history:
        stream.push(x[:history])
    for size in sizes:
        again = encoder_stream(network)
        again.resume(stream.state())
        stream = again
        told.append(stream.push(x[at : at + size]))
        at += size
    for name, want in whole.items():
        said = np.concatenate([one[name] for one in told])
        np.testing.assert_array_less(np.abs(said - want[history:]), 1e-5 * np.maximum(want[history:], want.std()) + 1e-12)


@pytest.mark.parametrize("which", KINDS)
def test_what_cannot_be_followed_or_gone_on_with_is_refused(which: EncoderSettings) -> None:
    with pytest.raises(UsageError, match="cannot run candle by candle"):
        encoder_stream(encoder(which, "smoothed"))
    stream = encoder_stream(encoder(which))
    with pytest.raises(DataError, match="no state of this regime network"):
        stream.resume({"ring": np.zeros((3, 3)), "bars": np.zeros(1)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter of a transformer, saved."""
    place = tmp_path_factory.mktemp("segmenter")
    attentive().save(place)
    return place


@cache
def attentive() -> Segmenter:
    return example_segmenter({"1h": ("network", DecoderSettings("markov", enter=0.3))}, network=FAR, networks=1, spans=(1, 5), windows=(6,))


def rewritten(folder: Path, place: Path, **changes: Any) -> Path:
    """The folder with other facts of its network."""
    content = json.loads((folder / "regimes.json").read_text())
    content["networks"][0] |= changes
    place.mkdir()
    content["networks"] = [{key: value for key, value in content["networks"][0].items() if value is not None}]
    (place / "regimes.json").write_text(json.dumps(content))
    (place / "network-0.safetensors").write_bytes((folder / "network-0.safetensors").read_bytes())
    return place


def test_a_segmenter_reads_follows_and_is_read_back_with_a_transformer(folder: Path, tmp_path: Path) -> None:
    candles = example_regime_market(700).candles
    whole, again = attentive().regimes(candles)["1h"], Segmenter.load(folder)
    np.testing.assert_array_equal(again.regimes(candles)["1h"].probabilities, whole.probabilities)
    stream = SegmenterStream(again, candles.rows(slice(0, 600)))
    stream.push(candles.rows(slice(600, 630)))
    stream.save(tmp_path / "stream.npz")
    stream = SegmenterStream.resume(attentive(), tmp_path / "stream.npz")
    told = [bar for k in range(630, 700) for bar in stream.push(candles.rows(slice(k, k + 1)))]
    assert [bar.label for bar in told] == whole.names[630:].tolist()
    assert [bar.age for bar in told] == whole.age[630:].tolist()
    np.testing.assert_allclose([bar.probabilities for bar in told], whole.probabilities[630:], atol=1e-5)
    assert again.needs > attentive().networks[0].receptive_field


def test_a_network_that_forecasts_can_correct_a_transformer() -> None:
    candles = example_regime_market(500).candles
    states = BaseStates(candles.close_time, np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32))
    readers = {"1h": replace(attentive().readers["1h"], source="joint")}
    segmenter = replace(attentive(), readers=readers, ask=lambda _: states)
    whole, plain = segmenter.regimes(candles)["1h"].probabilities, attentive().regimes(candles)["1h"].probabilities
    stream = SegmenterStream(segmenter, candles.rows(slice(0, 450)), states)
    told = [bar.probabilities for k in range(450, 500) for bar in stream.push(candles.rows(slice(k, k + 1)), states)]
    np.testing.assert_allclose(told, whole[450:], atol=1e-5)
    assert np.abs(whole - plain).max() > 0.01


def test_a_bundle_from_when_there_was_one_kind_is_a_convolution(tmp_path: Path) -> None:
    plain = example_segmenter({"1h": ("network", DecoderSettings())}, networks=1, spans=(1, 5), windows=(6,))
    plain.save(tmp_path / "now")
    old = Segmenter.load(rewritten(tmp_path / "now", tmp_path / "old", kind=None))
    assert old.networks[0].to_dict() == plain.networks[0].to_dict()
    candles = example_regime_market(300).candles
    np.testing.assert_array_equal(old.chances(candles)["1h"], plain.chances(candles)["1h"])


def test_a_network_that_does_not_fit_its_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    said = attentive().networks[0].to_dict()["settings"]
    for number, (changes, words) in enumerate(
        (
            ({"kind": "recurrent"}, "kind 'recurrent', this version knows convolution, transformer"),
            ({"kind": "convolution"}, "not a regime network"),
            ({"kind": None}, "not a regime network"),
            ({"settings": said | {"attention_width": 6}}, "weights blocks.0.distance, blocks.1.distance are not what"),
            ({"settings": said | {"heads": 5}}, "multiple of its heads"),
            ({"mode": "smoothed"}, "weights blocks.0.distance"),
            ({"mode": "sideways"}, "not a regime network"),
            ({"heads": {"1h": ["up", "down"]}}, "weights head.bias, head.weight are not"),
        )
    ):
        with pytest.raises(BundleError, match=words):
            Segmenter.load(rewritten(folder, tmp_path / str(number), **changes))
    place = rewritten(folder, tmp_path / "less")
    weights = load_file(place / "network-0.safetensors")
    del weights["blocks.1.out.weight"]
    save_file(weights, place / "network-0.safetensors")
    with pytest.raises(BundleError, match=r"weights blocks\.1\.out\.weight are not"):
        Segmenter.load(place)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 10, "heads": 4}, "must be a multiple of its heads"),
        ({"attention_width": 1}, "attention_width 1: at least 2"),
        ({"layers": 0}, "layers 0"),
        ({"reach_growth": 64, "layers": 4}, "at most 100,000 can be"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_settings_that_make_no_network_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RegimeTransformerSettings(**changes)
