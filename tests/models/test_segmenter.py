"""A segmenter: several timeframes from one base, saved without pickle, nothing later read, the network equal to torch's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from candelabra.candles import REGIMES, Candles
from candelabra.candles.hindsight import refuse_hindsight
from candelabra.candles.regime_markets import RegimeMarket, regime_market
from candelabra.candles.resample import resample
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.segmenter import Segmenter, Source, TimeframeReader, network_chances
from candelabra.models.switching import SwitchingSettings
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.reading import SmoothedReading
from candelabra.regimes.segmentation import Segmentation
from candelabra.training import segmenter_fit
from candelabra.training.decoder_choice import DecoderTrial
from candelabra.training.regime_fit import RegimeData, regime_training
from candelabra.training.regime_network import TcnNetwork
from candelabra.training.segmenter_fit import SegmenterFit, fit_segmenter
from candelabra.training.settings import TrainingSettings

SMALL = TcnSettings(width=12, layers=4)
QUICK = SwitchingSettings(spans=(24,), iterations=10)


def training(steps: int = 20) -> TrainingSettings:
    usual = regime_training(256)
    return TrainingSettings(
        sequence_length=usual.sequence_length, batch_size=8, steps=steps, learning_rate=5e-3, warmup_steps=2, evaluate_every=10,
        patience=4, rehearsal=0.0, precision="float32", threads=1,
    )  # fmt: skip


def labelled(market: RegimeMarket, unlabelled: slice | None = None) -> RegimeData:
    code = market.regime.astype(np.int16)
    if unlabelled is not None:
        code[unlabelled] = -1
    four = resample(market.candles, "4h")
    segments = {
        "1h": (Segmentation.of_bars(market.candles, REGIMES, code),),
        "4h": (Segmentation.of_bars(four, REGIMES, code[3::4][: len(four)]),),
    }
    cuts = (int(market.candles.close_time[k]) for k in (3_599, 4_799))
    return RegimeData((market.candles,), REGIMES, segments, *cuts)


MARKET = regime_market(6_000, 3)


@pytest.fixture(scope="module")
def fits() -> dict[str, SegmenterFit]:
    data = labelled(MARKET)
    return {m: fit_segmenter(data, SMALL, training(), mode=m, switching=QUICK) for m in ("filtered", "smoothed")}  # type: ignore[arg-type]


def test_it_says_more_than_the_commonest_label_at_every_timeframe(fits: dict[str, SegmenterFit]) -> None:
    found = fits["filtered"].segmenter.regimes(MARKET.candles)
    assert set(found) == {"1h", "4h"}
    truth = {"1h": MARKET.regime, "4h": MARKET.regime[3::4]}
    for name, one in found.items():
        code = truth[name][: len(one.code)]
        late = slice(int(0.8 * len(code)), None)
        names = np.array(one.labels)[one.code[late]]
        assert (names == np.array(REGIMES)[code[late]]).mean() > 0.5
        assert len(one) == len(one.code) == len(one.probabilities)
        refuse_hindsight("a rule", one)


@pytest.mark.parametrize("source", ["logistic", "network", None])
def test_nothing_later_moves_what_was_said(fits: dict[str, SegmenterFit], source: Source | None) -> None:
    segmenter, candles = fits["filtered"].segmenter, MARKET.candles
    if source is not None:  # there are too few segments for a switching model here
        readers = {name: TimeframeReader(source, one.decoder) for name, one in segmenter.readers.items()}
        segmenter = Segmenter("filtered", segmenter.inputs, segmenter.networks, readers)
    whole = segmenter.regimes(candles)
    for cut in (2_000, 3_001, 5_500):
        early = segmenter.regimes(candles.rows(slice(0, cut)))
        other = regime_market(6_000, 9).candles
        mixed = Candles.of(  # the same until the cut
            candles.symbol, "1h", candles.open_time,
            *(np.concatenate([a[:cut], b[cut:]]) for a, b in zip(candles.values(), other.values(), strict=True)),
        )  # fmt: skip
        changed = segmenter.regimes(mixed)
        for name, one in early.items():
            n = len(one.code)
            np.testing.assert_array_equal(one.code, whole[name].code[:n])
            np.testing.assert_array_equal(one.code, changed[name].code[:n])
            np.testing.assert_allclose(one.probabilities, whole[name].probabilities[:n], atol=1e-5)


def test_the_newest_bar_can_move_what_is_believed(fits: dict[str, SegmenterFit]) -> None:
    segmenter, c = fits["filtered"].segmenter, MARKET.candles.rows(slice(0, 4_000))
    shocked = [v.copy() for v in c.values()]
    shocked[3][-1] *= 1.3
    shocked[1][-1] = max(shocked[1][-1], shocked[3][-1])
    moved = Candles.of(c.symbol, "1h", c.open_time, *shocked)
    for name, one in segmenter.regimes(c).items():
        assert not np.array_equal(segmenter.regimes(moved)[name].probabilities[-1], one.probabilities[-1])


def test_smoothed_regimes_are_hindsight(fits: dict[str, SegmenterFit]) -> None:
    found = fits["smoothed"].segmenter.regimes(MARKET.candles)
    assert all(isinstance(one, SmoothedReading) for one in found.values())
    with pytest.raises(UsageError, match="knows the future"):
        refuse_hindsight("a rule", found["1h"])


@pytest.mark.parametrize("mode", ["filtered", "smoothed"])
def test_a_folder_gives_the_same_segmenter(mode: str, fits: dict[str, SegmenterFit], tmp_path: Path) -> None:
    segmenter = fits[mode].segmenter
    segmenter.save(tmp_path / "part")
    again = Segmenter.load(tmp_path / "part")
    for name, one in segmenter.regimes(MARKET.candles).items():
        np.testing.assert_array_equal(again.regimes(MARKET.candles)[name].code, one.code)
        np.testing.assert_array_equal(again.regimes(MARKET.candles)[name].probabilities, one.probabilities)
    (tmp_path / "part" / "network-0.safetensors").unlink()
    with pytest.raises(BundleError, match="cannot be read as a segmenter"):
        Segmenter.load(tmp_path / "part")


@pytest.mark.parametrize("mode", ["filtered", "smoothed"])
def test_arrays_compute_what_torch_does(mode: str) -> None:
    torch.manual_seed(0)
    heads = {"1h": ("a", "b", "c"), "4h": ("a", "b")}
    network = TcnNetwork(7, TcnSettings(width=16, layers=5), heads, mode).eval()  # type: ignore[arg-type]
    torch.nn.init.normal_(network.head.weight)
    x = torch.randn(1, 2_500, 7)
    with torch.inference_mode():
        want = network(x)[0].numpy()
    told = network.frozen().logits(x[0].numpy())
    np.testing.assert_allclose(np.concatenate([told["1h"], told["4h"], told["boundary"]], 1), want, atol=2e-5)


def test_labels_that_were_not_known_in_time_are_not_learned_from() -> None:
    data = labelled(MARKET)
    late = data.segmentations["1h"][0]
    known = np.full(len(late), int(MARKET.candles.close_time[-1]))
    hidden = Segmentation.of(late.symbol, "1h", late.labels, late.start, late.end, late.code, None, known)
    with pytest.raises(DataError, match="1h: the training range has no label"):
        fit_segmenter(RegimeData(data.candles, REGIMES, {"1h": (hidden,)}, data.train_end_ms, data.validation_end_ms), SMALL, training(1))


def test_without_labels_in_validation_nothing_can_be_chosen() -> None:
    data = labelled(MARKET, slice(3_590, 4_900))
    with pytest.raises(DataError, match="the validation range has no label"):
        fit_segmenter(data, SMALL, training(1), switching=QUICK)


def test_the_same_seed_gives_the_same_weights(fits: dict[str, SegmenterFit]) -> None:
    again = fit_segmenter(labelled(MARKET), SMALL, training(), switching=QUICK)
    for a, b in zip(again.segmenter.networks, fits["filtered"].segmenter.networks, strict=True):
        for name, weights in a.weights.items():
            np.testing.assert_array_equal(weights, b.weights[name])


@pytest.mark.parametrize("mode", ["filtered", "smoothed"])
def test_later_candles_and_labels_change_no_fitted_number(mode: str, fits: dict[str, SegmenterFit]) -> None:
    data = labelled(MARKET)
    cut = int(np.searchsorted(MARKET.candles.close_time, data.validation_end_ms, "right"))
    short = RegimeData((MARKET.candles.rows(slice(0, cut)),), REGIMES, data.segmentations, data.train_end_ms, data.validation_end_ms)
    again = fit_segmenter(short, SMALL, training(), mode=mode, switching=QUICK)  # type: ignore[arg-type]
    assert [one.trial for one in again.choices] == [one.trial for one in fits[mode].choices]
    assert again.segmenter.inputs.to_dict() == fits[mode].segmenter.inputs.to_dict()
    for name, reader in fits[mode].segmenter.readers.items():
        assert again.segmenter.readers[name].decoder.to_dict() == reader.decoder.to_dict()
        assert again.segmenter.readers[name].source == reader.source
    for a, b in zip(again.segmenter.networks, fits[mode].segmenter.networks, strict=True):
        for key, weights in a.weights.items():
            np.testing.assert_array_equal(weights, b.weights[key])


@pytest.mark.parametrize("mode", ["filtered", "smoothed"])
def test_no_candle_that_closes_after_validation_is_there_when_a_decoder_is_chosen(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, newest = labelled(MARKET), []

    def watched(networks: Any, inputs: Any, base: Candles) -> Any:
        newest.append(int(base.close_time[-1]))
        return network_chances(networks, inputs, base)

    monkeypatch.setattr(segmenter_fit, "network_chances", watched)
    fit_segmenter(data, SMALL, training(1), mode=mode, switching=QUICK)  # type: ignore[arg-type]
    assert newest == [data.validation_end_ms]


def shown_by(source: Source, shown: np.ndarray, worth: float) -> segmenter_fit._Tried:
    trial = DecoderTrial(DecoderSettings("hysteresis"), worth, worth, 1.0, 1.0, 0.0)
    decoder = Decoder(DecoderSettings("hysteresis"), REGIMES, fit_durations([MARKET.regime.astype(np.int16)], len(REGIMES)))
    return segmenter_fit._Tried(segmenter_fit.Choice("1h", source, trial), decoder, trial, [shown])


def test_a_network_must_be_clearly_better_than_what_has_few_numbers() -> None:
    truth = np.repeat(np.tile([0, 1, 2, 3], 12), 50).astype(np.int16)
    rng = np.random.default_rng(0)
    often, seldom = ((np.where(rng.random(len(truth)) < p, (truth + 1) % 4, truth)).astype(np.int16) for p in (0.4, 0.1))
    plain, rich = shown_by("logistic", often, 0.6), shown_by("network", seldom, 0.9)
    assert segmenter_fit._preferred([plain, rich], [truth], "filtered") is rich
    assert segmenter_fit._preferred([plain, rich], [truth], "smoothed") is rich
    alike = shown_by("network", np.roll(often, 1), 0.9)  # as good, to its own validation better
    assert segmenter_fit._preferred([plain, alike], [truth], "filtered") is plain
    assert segmenter_fit._preferred([plain, alike], [truth], "smoothed") is alike
    few = slice(0, 600)  # twelve segments cannot tell
    short = [shown_by(one.choice.source, one.shown[0][few], one.choice.trial.macro_f1) for one in (plain, rich)]
    assert segmenter_fit._preferred(short, [truth[few]], "filtered") is short[0]
    assert segmenter_fit._preferred([rich], [truth], "filtered") is rich


def test_macro_f1_is_not_sold_for_calm() -> None:
    calm, right = (DecoderTrial(DecoderSettings("raw"), *figures, 1.0, 1.0, 0.0, emphasis=8.0) for figures in ((0.45, 0.6), (0.55, 0.4)))
    assert right.worth > calm.worth
    assert (
        DecoderTrial(DecoderSettings("raw"), 0.45, 0.6, 1.0, 1.0, 0.0).worth
        > DecoderTrial(DecoderSettings("raw"), 0.55, 0.4, 1.0, 1.0, 0.0).worth
    )
