"""A segmenter followed candle by candle says what it says of the whole history, across gaps, restarts and any way of pushing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles import Candles
from candelabra.candles.forming import Forming
from candelabra.candles.resample import resample
from candelabra.candles.simulate import simulate
from candelabra.candles.timeframe import timeframe
from candelabra.errors import DataError, UsageError
from candelabra.features.running import RunningWindows
from candelabra.models.regime_features import multi_scale
from candelabra.models.regime_inputs import RegimeInputs, glances
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.segmenter import Segmenter
from candelabra.models.segmenter_stream import RegimeBar, SegmenterStream
from candelabra.regimes.decoding import DecoderSettings
from candelabra.regimes.reading import RegimeReading
from candelabra.testing.segmenters import example_regime_market, example_segmenter

MARKET = example_regime_market(1_500).candles
SEGMENTER = example_segmenter()


def gapped(seed: int, candles: Candles = MARKET) -> Candles:
    """The candles with some absent: single ones, a dozen, and a stretch of more than a day."""
    random = np.random.default_rng(seed)
    keep = random.random(len(candles)) > 0.03
    for length in (5, 12, 30):
        first = int(random.integers(1, len(candles) - length))
        keep[first : first + length] = False
    keep[[0, -1]] = True
    return candles.rows(keep)


def require_same(told: list[RegimeBar], whole: dict[str, RegimeReading], first_ms: int) -> None:
    """Every bar that closes after a time, once, as the history has it."""
    for name, reading in whole.items():
        own = [bar for bar in told if bar.timeframe == name]
        rows = np.flatnonzero(reading.close_time > first_ms)
        assert [bar.close_ms for bar in own] == reading.close_time[rows].tolist()
        assert [bar.label or "" for bar in own] == reading.names[rows].tolist()
        assert [bar.age for bar in own] == reading.age[rows].tolist()
        said, want = np.array([bar.probabilities for bar in own]).reshape(-1, 4), reading.probabilities[rows]
        np.testing.assert_array_equal(np.isnan(said), np.isnan(want))
        known = np.isfinite(want)
        spread = float(np.std(reading.probabilities[np.isfinite(reading.probabilities)])) if known.any() else 0.0
        assert (np.abs(said - want)[known] <= 1e-5 * np.maximum(np.abs(want[known]), spread)).all()


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 1_400), st.lists(st.integers(1, 40), min_size=3, max_size=30), st.data())
def test_a_stream_says_what_the_history_says(
    tmp_path_factory: pytest.TempPathFactory, seed: int, history: int, sizes: list[int], data: st.DataObject
) -> None:
    candles = gapped(seed)
    start = min(history, len(candles) - 1)
    stream = SegmenterStream(SEGMENTER, candles.rows(slice(0, start)) if start else None)
    stop = data.draw(st.integers(0, len(sizes) - 1), label="saved after push")
    told, at = [], start
    for number, size in enumerate(sizes):
        told += stream.push(candles.rows(slice(at, at + size)))
        at = min(at + size, len(candles))
        if number == stop:
            path = tmp_path_factory.mktemp("saved") / "stream.npz"
            stream.save(path)
            stream = SegmenterStream.resume(SEGMENTER, path)
    seen = candles.rows(slice(0, at))
    first = int(candles.close_time[start - 1]) if start else -1
    require_same(told, SEGMENTER.regimes(seen), first)


@pytest.mark.parametrize("kind", ["raw", "hysteresis", "markov", "duration"])
@pytest.mark.parametrize("source", ["switching", "network", "mean"])
def test_every_source_and_decoder_streams(source: Any, kind: Any) -> None:
    readers = {name: (source, DecoderSettings(kind, tilt=0.3, enter=0.0 if kind == "raw" else 0.3)) for name in ("1h", "4h")}
    segmenter, candles = example_segmenter(readers, networks=1), gapped(3).rows(slice(0, 700))
    stream = SegmenterStream(segmenter, candles.rows(slice(0, 550)))
    told = [bar for k in range(550, 700) for bar in stream.push(candles.rows(slice(k, k + 1)))]
    require_same(told, segmenter.regimes(candles), int(candles.close_time[549]))


def test_finer_candles_and_bars_that_close_unheard_of() -> None:
    fine = gapped(8, simulate("SIM/USDT", "15m", bars=3_000, seed=2).candles)
    stream = SegmenterStream(SEGMENTER, fine.rows(slice(0, 1_001)))
    told = [bar for k in range(1_001, len(fine)) for bar in stream.push(fine.rows(slice(k, k + 1)))]
    whole = SEGMENTER.regimes(fine)
    early = {name: int(SEGMENTER.regimes(fine.rows(slice(0, 1_001)))[name].close_time[-1]) for name in whole}
    for name, reading in whole.items():
        require_same([bar for bar in told if bar.timeframe == name], {name: reading}, early[name])


def test_inputs_and_switching_models_stream_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    candles, rows = gapped(5), []
    scaled = RegimeInputs.scaled
    monkeypatch.setattr(RegimeInputs, "scaled", lambda self, raw: rows.append(scaled(self, raw)) or rows[-1])
    stream = SegmenterStream(SEGMENTER, candles.rows(slice(0, 900)))
    for k in range(900, 1_200):
        stream.push(candles.rows(slice(k, k + 1)))
    np.testing.assert_array_equal(np.concatenate(rows), SEGMENTER.inputs.table(candles.rows(slice(0, 1_200))))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 200), min_size=1, max_size=8))
def test_window_columns_are_the_same_in_any_pieces(seed: int, sizes: list[int]) -> None:
    candles = gapped(seed).rows(slice(0, sum(sizes)))
    scales, seen, at = RunningWindows(48), RunningWindows(36), 0
    parts: tuple[list[Any], list[Any]] = [], []
    for size in sizes:
        piece = candles.rows(slice(at, at + size))
        at += size
        if not len(piece):
            break
        parts[0].append(multi_scale(piece, (1, 7, 48), scales))
        parts[1].append(glances(piece, (5, 36), 200, seen))
        again = RunningWindows(48)
        again.resume(scales.state())
        scales = again
    np.testing.assert_array_equal(np.concatenate(parts[0]), multi_scale(candles, (1, 7, 48)))
    np.testing.assert_array_equal(np.concatenate(parts[1]), glances(candles, (5, 36), 200))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["4h", "1d", "1w", "1M"]), st.lists(st.integers(1, 300), min_size=1, max_size=8))
def test_bars_form_as_the_history_is_resampled(seed: int, frame: str, sizes: list[int]) -> None:
    candles, forming, at, made = gapped(seed), Forming(timeframe(frame)), 0, []
    for size in sizes:
        made.append(forming.push(candles.rows(slice(at, at + size)) if at < len(candles) else candles.rows(slice(0, 0))))
        at += size
    want = resample(candles.rows(slice(0, at)), frame)
    np.testing.assert_array_equal(np.concatenate([one.open_time for one in made]), want.open_time)
    for k, column in enumerate(want.values()):
        np.testing.assert_array_equal(np.concatenate([one.values()[k] for one in made]), column)
    np.testing.assert_array_equal(np.concatenate([one.missing for one in made]), want.missing)


def test_subscribers_hear_of_changes_as_the_labels_change(tmp_path: Path) -> None:
    candles, heard = MARKET, []
    stream = SegmenterStream(SEGMENTER, candles.rows(slice(0, 900)))
    before = {name: reading.names[-1] for name, reading in SEGMENTER.regimes(candles.rows(slice(0, 900))).items()}
    end = stream.on_change(heard.append)
    told = [bar for k in range(900, 1_200) for bar in stream.push(candles.rows(slice(k, k + 1)))]
    want = []
    for bar in told:
        if bar.label != before[bar.timeframe]:
            want.append((bar.timeframe, bar.close_ms, before[bar.timeframe], bar.label))
            before[bar.timeframe] = str(bar.label)
    assert [(one.timeframe, one.time_ms, one.before, one.after) for one in heard] == want
    assert len(want) > 3
    waiting = [bar for bar in told if bar.timeframe == "1h" and not bar.confirmed]
    assert waiting
    assert all(bar.candidate not in (None, bar.label) and bar.leading == 1 for bar in waiting)
    end()
    stream.push(candles.rows(slice(1_200, 1_300)))
    assert len(heard) == len(want)
    assert stream.newest["1h"].close_ms == int(candles.close_time[1_299])


def test_further_columns_are_read_beside_the_table() -> None:
    random = np.random.default_rng(0)
    states = random.normal(0, 1, (len(MARKET), 3)).astype(np.float32)
    plain = example_segmenter({"1h": ("network", DecoderSettings("markov"))}, networks=1)
    network = plain.networks[0]
    wide = np.concatenate([network.weights["embed.weight"], random.normal(0, 1, (16, 3)).astype(np.float32)], axis=1)
    wider = type(network)(network.settings, network.mode, network.heads, {**network.weights, "embed.weight": wide})
    segmenter = Segmenter("filtered", plain.inputs, (wider,), plain.readers)
    stream = SegmenterStream(segmenter, MARKET.rows(slice(0, 600)), states[:600])
    told = [bar.chances for k in range(600, 700) for bar in stream.push(MARKET.rows(slice(k, k + 1)), states[k : k + 1])]
    want = wider.probabilities(np.concatenate([plain.inputs.table(MARKET), states], axis=1))["1h"]
    np.testing.assert_allclose(told, want[600:700], atol=1e-5)
    with pytest.raises(DataError, match="give a row to each bar"):
        stream.push(MARKET.rows(slice(700, 701)), states[:2])


def test_what_cannot_be_followed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="read later bars"):
        SegmenterStream(example_segmenter({"1h": ("network", DecoderSettings("viterbi"))}, mode="smoothed"))
    with pytest.raises(UsageError, match="cannot run candle by candle"):
        SegmenterStream(example_segmenter({"1h": ("network", DecoderSettings("viterbi"))}))
    stream = SegmenterStream(SEGMENTER, MARKET.rows(slice(0, 600)))
    with pytest.raises(DataError, match="push each closed candle once"):
        stream.push(MARKET.rows(slice(599, 602)))
    assert stream.push(MARKET.rows(slice(600, 600))) == []
    with pytest.raises(DataError, match="open one for each symbol"):
        stream.push(simulate("B/USDT", "1h", bars=700, seed=1).candles.rows(slice(600, 601)))
    with pytest.raises(UsageError, match="push 1h candles, or finer ones"):
        SegmenterStream(SEGMENTER, resample(MARKET, "4h"))
    stream.save(tmp_path / "a.npz")
    with pytest.raises(DataError, match="another segmenter"):
        SegmenterStream.resume(example_segmenter(seed=9), tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    with pytest.raises(DataError, match=r"b\.npz"):
        SegmenterStream.resume(SEGMENTER, tmp_path / "b.npz")
    with pytest.raises(DataError, match="cannot be read"):
        SegmenterStream.resume(SEGMENTER, tmp_path / "none.npz")
    raw = SegmenterStream(example_segmenter({"1h": ("network", DecoderSettings("raw"))}))
    with pytest.raises(UsageError, match="held by hysteresis"):
        raw.on_change(print)


def test_a_bar_costs_no_more_after_a_long_history() -> None:
    segmenter = example_segmenter(network=TcnSettings(), networks=1)
    long = example_regime_market(6_000).candles
    cost, kept = [], []
    for start in (1_000, 5_000):
        stream = SegmenterStream(segmenter, long.rows(slice(0, start)))
        pieces = [long.rows(slice(k, k + 1)) for k in range(start, start + 300)]
        took = []
        for piece in pieces:
            began = time.thread_time()
            stream.push(piece)
            took.append(time.thread_time() - began)
        cost.append(float(np.median(took)))
        kept.append(sum(v.nbytes for v in stream._inputs.state().values()))
    assert cost[1] < 2 * cost[0]
    assert cost[1] < 0.003  # a millisecond on a machine of its own
    assert kept[1] == kept[0]
