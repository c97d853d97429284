"""A segmenter: several timeframes from one base, saved without pickle, nothing later read, the network equal to torch's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.candles import REGIMES, Candles
from candelabra.candles.hindsight import refuse_hindsight
from candelabra.candles.regime_markets import RegimeMarket, regime_market
from candelabra.candles.resample import resample
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.regime_memory import SAME, SAME_ALONE
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.regime_transformer import RegimeTransformerSettings
from candelabra.models.segmenter import Segmenter, Source, TimeframeReader, network_chances
from candelabra.models.switching import SwitchingSettings
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.reading import LaggedReading, SmoothedReading
from candelabra.regimes.segmentation import Segmentation
from candelabra.training import segmenter_fit
from candelabra.training.bounds_notes import bounds_notes
from candelabra.training.decoder_choice import DecoderTrial
from candelabra.training.regime_fit import RegimeData, fit_regime_network, regime_training
from candelabra.training.regime_settings import Bounds
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
    cuts = (int(market.candles.close_time[int(share * len(code)) - 1]) for share in (0.6, 0.8))
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


def test_where_no_decoder_keeps_the_bounds_the_nearest_is_named(heard: Segmenter) -> None:
    data = labelled(regime_market(10_000, 3))
    for asked, words in (
        (
            Bounds(0.4, 1.0, margin=1.0),
            ["no decoder had at most 0.4 changes in 1,000 bars and a median delay of at most 1 bars on", "was taken"],
        ),
        (Bounds(None, 1.0), ["four times as many as in the training labels", "0.9 bars (90% of what may be"]),
    ):
        fit = fit_segmenter(data, SMALL, training(10), switching=QUICK, bounds=asked)
        told = bounds_notes(fit, asked)
        assert "1h" in told
        assert all(word in told["1h"] for word in words)
        assert ("has to miss regimes" in told["1h"]) == (asked.flips is not None)  # fewer than the labels have
        chosen = fit.segmenter.readers["1h"]
        assert f"the nearest, {chosen.decoder.settings.kind} after" in told["1h"]
    easy = Bounds(1000.0, 1e6)
    fit = fit_segmenter(data, SMALL, training(10), switching=QUICK, bounds=easy)
    assert bounds_notes(fit, easy) == {}
    assert bounds_notes(replace(fit, segmenter=replace(fit.segmenter, mode="smoothed")), Bounds(0.4, 1.0)) == {}


def test_a_delay_that_validation_cannot_show_is_not_taken_for_kept() -> None:
    market = regime_market(6_000, 3)
    data = labelled(market)
    bar = np.arange(len(market.regime))
    code = np.where(bar < 3_600, market.regime, np.where(bar < 4_800, 1, 0)).astype(np.int16)  # one regime all through validation
    held = (Segmentation.of_bars(market.candles, REGIMES, code),)
    fit = fit_segmenter(replace(data, segmentations={"1h": held}), SMALL, training(2), switching=QUICK, bounds=Bounds(None, 5.0))
    assert all(np.isnan(one.trial.delay) for one in fit.choices if one.source == "network")
    kept = next(one for one in fit.choices if one.source == "network")
    reader = TimeframeReader("network", replace(fit.segmenter.readers["1h"].decoder, settings=kept.trial.settings))
    silent = replace(fit, segmenter=replace(fit.segmenter, readers={"1h": reader}))
    assert "no change of regime to measure one on" in bounds_notes(silent, Bounds(None, 5.0))["1h"]


def test_a_late_segmenter_says_more_of_the_same_bars_and_keeps_to_it(heard: Segmenter) -> None:
    market = regime_market(16_000, 3)
    late = heard.late(30)
    whole, at_close = late.regimes(market.candles), heard.regimes(market.candles)
    early = late.regimes(market.candles.rows(slice(0, 12_000)))
    for name, one in whole.items():
        assert isinstance(one, LaggedReading)
        np.testing.assert_array_equal(early[name].code[: early[name].settled], one.code[: early[name].settled])
        truth = np.array(REGIMES)[(market.regime if name == "1h" else market.regime[3::4])[: len(one)]]
        judged = slice(len(one) // 2, one.settled)
        right = [(np.array(r.labels)[r.code[judged]] == truth[judged]).mean() for r in (at_close[name], one)]
        assert right[1] > right[0] + 0.02
    with pytest.raises(UsageError, match="for filtered ones"):
        replace(heard, mode="smoothed").late(30)


def test_the_newest_bar_can_move_what_is_believed(fits: dict[str, SegmenterFit]) -> None:
    segmenter, c = fits["filtered"].segmenter, MARKET.candles.rows(slice(0, 4_000))
    shocked = [v.copy() for v in c.values()]
    shocked[3][-1] *= 1.3
    shocked[1][-1] = max(shocked[1][-1], shocked[3][-1])
    moved = Candles.of(c.symbol, "1h", c.open_time, *shocked)
    for name, one in segmenter.regimes(c).items():
        assert not np.array_equal(segmenter.regimes(moved)[name].probabilities[-1], one.probabilities[-1])


@pytest.fixture(scope="module")
def heard() -> Segmenter:
    """One with a switching model at each timeframe."""
    return fit_segmenter(labelled(regime_market(10_000, 3)), SMALL, training(10), switching=QUICK).segmenter


@pytest.mark.parametrize("source", ["network", "mean", "switching"])
def test_after_the_bars_it_needs_the_beginning_of_history_no_longer_matters(source: Any, heard: Segmenter) -> None:
    readers = {name: TimeframeReader(source, replace(one.decoder, settings=DecoderSettings())) for name, one in heard.readers.items()}
    segmenter, candles = replace(heard, readers=readers), regime_market(40_000, 3).candles
    assert segmenter.needs > segmenter.networks[0].settings.receptive_field
    whole = segmenter.regimes(candles)
    far, near = [], []
    for start in (4_000, 15_013):
        for name, one in segmenter.regimes(candles.rows(slice(start, None))).items():
            place = np.searchsorted(whole[name].open_time, one.open_time)
            there = (whole[name].open_time[place] == one.open_time) & np.isfinite(one.probabilities).all(1)
            apart = np.abs(whole[name].probabilities[place] - one.probabilities).max(1)
            since = (one.close_time - candles.open_time[start]) // candles.timeframe.milliseconds
            far.append(apart[there & (since >= segmenter.needs)])
            near.append(apart[there & (since >= 24) & (since < segmenter.needs // 20)])
    late, early = np.concatenate(far), np.concatenate(near)
    alone = source == "switching"
    assert late.max() < (SAME_ALONE if alone else SAME)
    assert np.quantile(late, 0.99) < 0.02
    assert early.max() > (SAME_ALONE if alone else SAME)  # with few bars it does matter


def test_a_filter_behind_the_chances_needs_more_bars(heard: Segmenter) -> None:

    def needed(source: Any, settings: DecoderSettings) -> int:
        readers = {name: TimeframeReader(source, replace(one.decoder, settings=settings)) for name, one in heard.readers.items()}
        return replace(heard, readers=readers).needs

    assert needed("network", DecoderSettings("markov")) > needed("network", DecoderSettings()) > needed("switching", DecoderSettings())
    wider = tuple(replace(one, settings=replace(one.settings, layers=one.settings.layers + 1)) for one in heard.networks)
    further = wider[0].settings.receptive_field - heard.networks[0].settings.receptive_field
    with_network = replace(heard, readers={n: TimeframeReader("network", one.decoder) for n, one in heard.readers.items()})
    assert replace(with_network, networks=wider).needs - with_network.needs == further


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


def test_a_transformer_learns_from_the_same_labels() -> None:
    small = RegimeTransformerSettings(width=12, layers=2, heads=2, attention_width=8)
    data = labelled(MARKET)
    fit = fit_regime_network(data, small, training(10), switching=QUICK)
    (network,) = fit.networks
    assert network.kind == "transformer"
    late = slice(int(0.8 * len(MARKET.regime)), None)
    said = np.array(network.heads["1h"])[network.probabilities(fit.inputs.table(MARKET.candles))["1h"].argmax(1)[late]]
    truth = np.array(REGIMES)[MARKET.regime[late]]
    assert (said == truth).mean() > max((truth == name).mean() for name in REGIMES)


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
