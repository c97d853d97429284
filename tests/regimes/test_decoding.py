"""Every decoder: causal ones keep the laws and stream to the bit; all survive the round trip through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.errors import BundleError, DataError, UsageError
from candelabra.regimes.decoding import CAUSAL_KINDS, KINDS, LATE_KINDS, Decoder, DecoderSettings
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.late_stream import LateStream
from candelabra.testing import check_decoder, example_probabilities

LABELS = ("up", "down", "flat")
TRUTH = np.repeat(np.tile([0, 2, 1], 12), np.random.default_rng(4).integers(8, 40, 36)).astype(np.int16)
DURATIONS = fit_durations([TRUTH], 3)


def decoder(kind: str, **more: float) -> Decoder:
    lag = {"lag": 5} if kind in LATE_KINDS else {}
    return Decoder(DecoderSettings(kind, **(lag | more)), LABELS, DURATIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", CAUSAL_KINDS)
def test_causal_decoders_keep_the_laws(kind: str) -> None:
    # a belief that has been sure for long takes some bars to be talked round
    check_decoder(decoder(kind).decode, delay={"markov": 3, "duration": 3}.get(kind, 0))


@pytest.mark.parametrize("kind", CAUSAL_KINDS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 1.0]), st.sampled_from([0.0, 0.6]), st.integers(1, 3), st.integers(0, 9))
def test_a_stream_gives_what_history_gives_to_the_bit(kind: str, seed: int, power: float, enter: float, confirm: int, hold: int) -> None:
    own = decoder(kind, power=power, enter=enter, confirm=confirm, min_hold=hold)
    p = example_probabilities(120, 3, seed)
    stream = own.stream()
    said = [stream.push(row) for row in p]
    assert [label for label, _ in said] == own.decode(p).tolist()
    np.testing.assert_array_equal(np.stack([belief for _, belief in said]), own.beliefs(p))


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_helps_and_survives_json(kind: str) -> None:
    rng = np.random.default_rng(1)
    score = 1.2 * np.eye(3)[TRUTH] + rng.normal(0, 1, (len(TRUTH), 3))
    p = np.exp(score) / np.exp(score).sum(1, keepdims=True)
    own = decoder(kind)
    shown = own.decode(p)
    again = Decoder.from_dict(json.loads(json.dumps(own.to_dict())))
    np.testing.assert_array_equal(again.decode(p), shown)
    raw = p.argmax(1)
    if kind not in ("raw", "hysteresis"):
        assert (shown[:-5] == TRUTH[:-5]).mean() > (raw == TRUTH).mean() + 0.05
        assert np.count_nonzero(np.diff(shown)) < 0.6 * np.count_nonzero(np.diff(raw))


@pytest.mark.parametrize("kind", LATE_KINDS)
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.3, 1.0]), st.sampled_from([0.0, 0.6]), st.integers(1, 12))
def test_a_late_stream_gives_what_history_gives_to_the_bit(kind: str, seed: int, power: float, tilt: float, lag: int) -> None:
    own = decoder(kind, power=power, tilt=tilt, lag=lag)
    p = example_probabilities(120, 3, seed)
    p[40:43] = np.nan  # nothing was heard
    stream = LateStream(own)
    said = [stream.push(row) for row in p]
    assert [label for label, _ in said[lag:]] == own.decode(p)[: 120 - lag].tolist()
    np.testing.assert_array_equal(np.stack([belief for _, belief in said[lag:]]), own.beliefs(p)[: 120 - lag])
    assert all(label == -1 and np.isnan(belief).all() for label, belief in said[:lag])


def test_every_causal_decoder_has_a_late_one_of_the_same_evidence() -> None:
    for kind in CAUSAL_KINDS:
        own = decoder(kind, power=0.5, tilt=0.2)
        late = own.late(7).settings
        assert (late.kind, late.lag, late.tilt) == ("fixed_lag" if kind == "duration" else "markov_lag", 7, 0.2)
        assert late.power == (0.5 if kind in ("markov", "duration") else 0.35)  # without a filter, evidence repeats itself
        assert own.late(7).at_close().settings.kind == ("duration" if kind == "duration" else "markov")
    with pytest.raises(UsageError, match="take a filtered one"):
        decoder("viterbi").late(7)
    with pytest.raises(UsageError, match="has no lag"):
        LateStream(decoder("markov"))


@pytest.mark.parametrize("kind", LATE_KINDS)
def test_a_fixed_lag_speaks_of_its_own_bar_and_reads_so_many_later_ones(kind: str) -> None:
    p = example_probabilities(90, 3, 2)
    own = decoder(kind)
    shown = own.decode(p)
    assert (shown[-5:] == -1).all()
    changed = p.copy()
    changed[60:] = p[60:][::-1]
    np.testing.assert_array_equal(own.decode(changed)[:55], shown[:55])
    assert not np.array_equal(own.beliefs(changed)[55:60], own.beliefs(p)[55:60])


def test_a_tilt_shows_rare_labels_more_and_streams_alike() -> None:
    rng = np.random.default_rng(3)
    rare = fit_durations([np.repeat(np.array([0, 1, 0, 2], np.int16), [400, 20, 400, 30])], 3)
    p = rng.dirichlet([6, 2, 2], 300)
    plain = Decoder(DecoderSettings("hysteresis"), LABELS, rare)
    tilted = Decoder(DecoderSettings("hysteresis", tilt=0.6), LABELS, rare)
    assert (tilted.decode(p) > 0).mean() > (plain.decode(p) > 0).mean() + 0.2
    stream = tilted.stream()
    assert [stream.push(row)[0] for row in p] == tilted.decode(p).tolist()
    with pytest.raises(UsageError, match="tilt"):
        DecoderSettings("raw", tilt=2)


def test_what_cannot_be_is_refused() -> None:
    for kind in ("viterbi", "semi_markov", *LATE_KINDS):
        with pytest.raises(UsageError, match="cannot run candle by candle"):
            decoder(kind).stream()
    with pytest.raises(UsageError, match="no decoder 'best'"):
        DecoderSettings("best")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="need 1 or more bars"):
        DecoderSettings("fixed_lag")
    with pytest.raises(UsageError, match="power"):
        DecoderSettings("markov", power=0)
    with pytest.raises(DataError, match="one column a label"):
        decoder("raw").decode(np.ones((4, 2)))
    with pytest.raises(DataError, match="count them from the same labels"):
        Decoder(DecoderSettings("raw"), ("a", "b"), DURATIONS)
    with pytest.raises(BundleError, match="not a decoder"):
        Decoder.from_dict({"settings": {"kind": "raw"}})


def test_the_longer_a_segment_has_lasted_the_less_is_left_of_a_gamma_duration() -> None:
    own = decoder("duration")
    left = [own.expected_remaining(0, age) for age in (1, 10, 30)]
    assert left == sorted(left, reverse=True)
    assert left[-1] >= 0
