"""Auditing the regimes of a bundle: every layer, candle by candle, statechart, networks, that hindsight stays apart, a tiny refit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

import candelabra
from candelabra.bundles.segmenting import open_segmenter, regime_modes
from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.disk import write_atomically
from candelabra.errors import CandelabraError, DataError
from candelabra.evaluation.certificate import CERTIFICATE_FILE, Certificate, certify
from candelabra.evaluation.findings import Audit
from candelabra.evaluation.layers import audit_layers
from candelabra.evaluation.refit import audit_fit
from candelabra.evaluation.regime_audits import audit_apart, audit_candle_by_candle, audit_segmenter, audit_statechart
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.worlds import Market
from candelabra.models.base_states import BaseStates
from candelabra.models.regime_encoder import EncoderKind, EncoderSettings
from candelabra.models.regime_inputs import candles_at
from candelabra.models.regime_tcn import TcnSettings
from candelabra.models.regime_transformer import RegimeTransformerSettings
from candelabra.models.segmenter import Segmenter
from candelabra.models.switching import SwitchingSettings
from candelabra.pipeline.audit import audited
from candelabra.progress import Reporter, Silent
from candelabra.training.regime_fit import RegimeData
from candelabra.training.settings import TrainingSettings

__all__ = ["audit_regime_bundle", "audit_regime_refit", "certify_regimes"]

_BARS: Final = 2_000
_FEW_BARS: Final = 900
_LIGHT: Final = Effort(
    moments=2, early=1, ways=("values", "mirror", "drop", "cut", "append"), positions=2, sizes=(0.05, -0.3), steps=1, measured=3, told=8
)
_LAYER_BARS: Final = 307
_ROUNDING: Final = 1e-5  # law 3's: equal rows of a product are added up in another order where they lie elsewhere in memory
_REFIT: Final = (1_000, 800)
"""Base bars before the end of the training range, and behind it, of a tiny refit."""
_TINY: Final = TrainingSettings(
    sequence_length=64, batch_size=2, steps=2, evaluate_every=1, warmup_steps=1, rehearsal=0.0, precision="float32", threads=1
)
_SMALL: Final[Mapping[EncoderKind, EncoderSettings]] = {
    "convolution": TcnSettings(width=8, layers=2),
    "transformer": RegimeTransformerSettings(width=8, layers=2, heads=2, attention_width=4),
}


def audit_regime_bundle(folder: Path, candles: Sequence[Candles], *, progress: Reporter | None = None) -> Certificate:
    """Certificate of the regimes of a sealed bundle, on candles of one symbol: of its base timeframe or finer (DataError without them).

    Learned numbers cannot be learned again: the labels are not in the bundle. `train` does that before it seals.
    """
    modes = {mode: open_segmenter(folder, mode)[1] for mode in regime_modes(folder)}  # type: ignore[arg-type]
    base = _base(next(iter(modes.values())), candles)
    found = _of_parts(folder, modes, base.rows(slice(-_BARS, None)), None, progress or Silent())
    note = "the labels are not in the bundle, so nothing was learned again: its own certificate says what train found"
    found.append(Audit("everything learned (tiny refit)", notes=(note,)))
    return certify(found, {f"{base.symbol} {base.timeframe}": base.fingerprint}, candelabra.__version__)


def certify_regimes(draft: Path, data: RegimeData, *, seed: int = 0, progress: Reporter | None = None) -> Certificate:
    """The certificate of a run on a learning set, written into the draft of its bundle before that is sealed; takes seconds."""
    found = audit_draft(draft, data, seed=seed, progress=progress)
    certificate = certify(found, {f"{c.symbol} {c.timeframe}": c.fingerprint for c in data.candles}, candelabra.__version__)
    write_atomically(draft / CERTIFICATE_FILE, certificate.to_json().encode())
    return certificate


def audit_draft(
    draft: Path, data: RegimeData, *, seed: int = 0, ask: Callable[[Candles], BaseStates] | None = None, progress: Reporter | None = None
) -> list[Audit]:
    """Audits of the regimes in the draft of a bundle; ``ask``: its network that forecasts, where that corrects them."""
    modes = {mode: replace(Segmenter.load(draft / "parts" / f"regimes-{mode}"), ask=ask) for mode in regime_modes(draft)}
    found = _of_parts(draft, modes, data.candles[0].rows(slice(-_FEW_BARS, None)), _LIGHT, progress or Silent())
    kind: EncoderKind = next((network.kind for one in modes.values() for network in one.networks), "convolution")  # one in all modes
    return [*found, audit_regime_refit(data, seed, kind)]


def audit_regime_refit(data: RegimeData, seed: int = 0, kind: EncoderKind = "convolution") -> Audit:
    """A tiny fit on the bars around the end of training, and again with all later ones scrambled.

    Scales and switching models may read the training range, networks (early stopping) and decoders validation too; nothing what closes
    later. Too few candles or labels give an audit with a note instead.
    """
    from candelabra.training.segmenter_fit import fit_segmenter

    name, ms, labels = "everything learned (tiny refit)", data.base.milliseconds, data.labels
    chosen = next((k for k in range(len(data.candles)) if all(own[k] is not None for own in data.segmentations.values())), 0)
    start, train_end = data.train_end_ms - _REFIT[0] * ms, data.train_end_ms
    end = min(data.validation_end_ms, train_end + _REFIT[1] * ms)
    candles = data.candles[chosen].between(start_ms=start, end_ms=end + 100 * ms)
    segments = {tf: (own[chosen],) for tf, own in data.segmentations.items() if own[chosen] is not None}

    def fit(world: Market) -> dict[str, Any]:
        made = RegimeData((world.finest,), labels, segments, train_end, end)
        quick = SwitchingSettings(spans=(24,), iterations=3)
        learned = fit_segmenter(made, _SMALL[kind], _TINY, seed=seed, switching=quick).segmenter
        constants: dict[str, Any] = {"inputs: centre": learned.inputs.centre, "inputs: spread": learned.inputs.spread}
        for tf, model in learned.inputs.switching.items():
            constants[f"switching {tf}"] = model.common.table()
            constants[f"switching {tf}: scale"] = np.array(list(model.scales.values()))
        for key, weights in learned.networks[0].weights.items():
            constants[f"network: {key}"] = weights
        for tf, reader in learned.readers.items():
            s = reader.decoder.settings
            constants[f"decoder {tf}"] = np.array([s.tilt, s.power, s.enter, s.confirm, s.min_hold], np.float64)
            constants[f"decoder {tf}: kind"] = np.array([f"{reader.source} {s.kind}"])
        return constants

    until = {"inputs": train_end, "switching": train_end, "network": end, "decoder": end}
    try:
        return audit_fit(name, fit, Market.of(candles), until, seeds=1, ways=("values",), measure=False, hearing=False, seed=seed)
    except CandelabraError as refused:
        return Audit(name, notes=(f"not learned again: {str(refused)[:200]}",))


def _of_parts(folder: Path, modes: dict[str, Segmenter], candles: Candles, effort: Effort | None, progress: Reporter) -> list[Audit]:
    steps: dict[str, Callable[[], list[Audit]]] = {}
    filtered, smoothed = modes.get("filtered"), modes.get("smoothed")
    parts = folder / "parts"
    if filtered is not None:
        steps["filtered regimes"] = lambda: [audit_segmenter(filtered, candles, effort=effort)]
        steps["regimes candle by candle"] = lambda: [audit_candle_by_candle(filtered, candles)]
        steps["statechart"] = lambda: _charts(filtered, candles)
        steps["networks"] = lambda: _networks(filtered, candles)
    if smoothed is not None:
        steps["smoothed regimes"] = lambda: [audit_apart(parts / "regimes-filtered", parts / "regimes-smoothed", smoothed, candles)]
    return audited(steps, "audit the regimes", progress)


def _charts(segmenter: Segmenter, candles: Candles) -> list[Audit]:
    """The statechart of the timeframes that are held by hysteresis, on what their decoders believe."""
    told = segmenter.regimes(candles)
    held = {tf: one.decoder for tf, one in segmenter.readers.items() if one.decoder.causal and one.decoder.settings.kind != "raw"}
    ordered = sorted(held, key=Timeframe)
    if not held:
        return [Audit("statechart", notes=("no timeframe is held by hysteresis",))]
    rules, labels = {tf: held[tf].settings.rule for tf in ordered}, {tf: held[tf].labels for tf in ordered}
    return [audit_statechart(rules, labels, {tf: (told[tf].close_time, told[tf].probabilities) for tf in ordered})]


def _networks(segmenter: Segmenter, candles: Candles) -> list[Audit]:
    """Every layer of the networks, in training and in evaluation."""
    import torch

    from candelabra.training.regime_network import thawed

    found = []
    x = torch.from_numpy(segmenter.inputs.table(candles)[-_LAYER_BARS:])[None]
    for number, network in enumerate(segmenter.networks):
        found.append(audit_layers(f"regime network {number}", thawed(network), {"x": x}, rounding=_ROUNDING))
    return found


def _base(segmenter: Segmenter, candles: Sequence[Candles]) -> Candles:
    """Base candles from the coarsest of those given that can make them."""
    frame = segmenter.inputs.base
    able = [c for c in candles if len(c) and (c.timeframe == frame or c.timeframe.divides_into(frame))]
    if not able:
        there = ", ".join(f"{c.symbol} {c.timeframe}" for c in candles) or "none"
        raise DataError(f"these regimes are read from {frame} candles or finer ones, and there are {there}: give some of those")
    chosen = max(able, key=lambda c: c.timeframe.milliseconds)
    base = candles_at(chosen.between(start_ms=int(chosen.close_time[-1]) - 2 * _BARS * frame.milliseconds), frame)
    if not len(base):
        raise DataError(f"{chosen.symbol} has no closed {frame} bar: give more candles")
    return base
