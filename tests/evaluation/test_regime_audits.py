"""Regimes are audited layer by layer: what is sound passes, every planted mistake is caught and placed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from candelabra.evaluation.causality import audit
from candelabra.evaluation.findings import Audit, Finding
from candelabra.evaluation.layers import audit_layers
from candelabra.evaluation.regime_audits import (
    audit_apart,
    audit_candle_by_candle,
    audit_decoder,
    audit_segmenter,
    audit_statechart,
    blamed,
)
from candelabra.evaluation.regime_subjects import inputs_subject
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.worlds import Market
from candelabra.models.regime_transformer import RegimeTransformerSettings
from candelabra.regimes.decoding import KINDS, LATE_KINDS, Decoder, DecoderKind, DecoderSettings
from candelabra.testing.regime_mutations import REGIME_MUTANTS, RegimeMutant
from candelabra.testing.segmenters import example_regime_market, example_segmenter
from candelabra.training.regime_network import thawed

SEGMENTER = example_segmenter()
CANDLES = example_regime_market(900).candles
LIGHT = Effort(moments=2, early=1, positions=2, sizes=(0.05, -0.3), steps=2, measured=2, told=8)


@pytest.mark.parametrize("mutant", REGIME_MUTANTS, ids=lambda m: m.name)
def test_a_planted_mistake_is_caught_and_placed(mutant: RegimeMutant) -> None:
    assert mutant.missed(mutant.audited()) == ""


def test_a_sound_segmenter_passes_in_every_layer() -> None:
    found = audit_segmenter(SEGMENTER, CANDLES, effort=LIGHT)
    assert found.passed, [f.words for f in found.findings]
    assert found.columns > 80
    assert {"shock", "candle by candle", "cut", "append"} <= set(found.tried)
    assert not any("label" in note or "age" in note for note in found.notes)
    streamed = audit_candle_by_candle(SEGMENTER, CANDLES, bars=60)
    assert streamed.passed, [f.words for f in streamed.findings]
    assert streamed.tried == {"candles, one by one": 60}


def test_a_sound_transformer_passes_in_every_layer() -> None:
    small = RegimeTransformerSettings(width=8, layers=2, heads=2, attention_width=6, reach_growth=3)
    reader = {"1h": ("network", DecoderSettings("hysteresis", enter=0.3))}
    segmenter = example_segmenter(reader, network=small, networks=1, spans=(1, 5, 30), windows=(6, 24))  # type: ignore[arg-type]
    few = CANDLES.rows(slice(0, 500))
    found = audit_segmenter(segmenter, few, effort=replace(LIGHT, steps=1))
    assert found.passed, [f.words for f in found.findings]
    streamed = audit_candle_by_candle(segmenter, few, bars=60)
    assert streamed.passed, [f.words for f in streamed.findings]
    table = torch.from_numpy(segmenter.inputs.table(few)[-61:])[None]
    layers = audit_layers("transformer", thawed(segmenter.networks[0]), {"x": table}, rounding=1e-5)
    assert layers.passed, [f.words for f in layers.findings]
    assert layers.columns > 2 * 4


def test_a_sound_statechart_passes() -> None:
    told = SEGMENTER.regimes(CANDLES)
    rules = {tf: reader.decoder.settings.rule for tf, reader in SEGMENTER.readers.items()}
    labels, chances = {tf: one.labels for tf, one in told.items()}, {tf: (one.close_time, one.probabilities) for tf, one in told.items()}
    found = audit_statechart(rules, labels, chances, bars=60)
    assert found.passed, [f.words for f in found.findings]


@pytest.mark.parametrize("kind", KINDS)
def test_every_decoder_keeps_what_it_promises(kind: DecoderKind) -> None:
    model = SEGMENTER.inputs.switching["1h"]
    settings = DecoderSettings(kind, lag=5 if kind in LATE_KINDS else 0, enter=0.3, confirm=2)
    found = audit_decoder(Decoder(settings, model.labels, model.durations), model.probabilities, CANDLES, effort=LIGHT)
    assert found.passed, [f.words for f in found.findings]
    assert (found.tried.get("from its tail", 0) > 0) == (kind not in (*LATE_KINDS, "viterbi", "semi_markov"))


def test_what_a_network_reads_is_point_in_time_and_streams() -> None:
    found = audit(inputs_subject(SEGMENTER.inputs), Market.of(CANDLES), effort=LIGHT)
    assert found.passed, [f.words for f in found.findings]
    assert found.tried["from its tail"] > 0


def test_modes_that_share_nothing_pass_and_hindsight_is_named(tmp_path: Path) -> None:
    smoothed = example_segmenter({"1h": ("network", DecoderSettings("viterbi"))}, mode="smoothed", seed=5)
    SEGMENTER.save(tmp_path / "f")
    smoothed.save(tmp_path / "s")
    found = audit_apart(tmp_path / "f", tmp_path / "s", smoothed, CANDLES)
    assert found.passed, [f.words for f in found.findings]
    assert "hindsight by nature" in found.notes[0]


def test_only_the_first_layer_is_blamed() -> None:
    one = Finding("x", "future", "inputs 4h believed bullish", 3, "1h")
    two, three = replace(one, column="decoder 1h: bullish"), replace(one, column="label 4h", law="stream")
    four = replace(one, column="decoder 4h: bullish", law="stale")
    found = blamed(Audit("x", (two, one, three, four)))
    assert set(found.findings) == {one, three, four}
    assert "decoder 1h" in found.notes[-1]
    many = blamed(Audit("x", tuple(replace(one, column=f"inputs {k}") for k in range(9))))
    assert len(many.findings) == 4
    assert many.notes == ("5 more columns of the layer inputs are the same",)
