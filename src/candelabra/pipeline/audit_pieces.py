"""Pieces of regimes that can be audited by themselves on any candles: ``decoder:KIND``, ``statechart``, ``regime-inputs``.

What a learning set would teach is replaced by a causal rule that needs none: chances from the return and the volatility of a day of bars.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import CandelabraError, UsageError
from candelabra.evaluation.causality import audit
from candelabra.evaluation.findings import Audit
from candelabra.evaluation.refit import audit_fit
from candelabra.evaluation.regime_audits import audit_decoder, audit_statechart
from candelabra.evaluation.regime_subjects import inputs_subject
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.worlds import Market, World
from candelabra.models.regime_inputs import RegimeInputs, candles_at, fit_regime_inputs, glances
from candelabra.models.switching import SwitchingModel, SwitchingSettings, fit_switching
from candelabra.regimes.decoding import KINDS, LATE_KINDS, Decoder, DecoderSettings
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.hysteresis import HysteresisSettings
from candelabra.registry import did_you_mean

__all__ = ["PIECES", "audit_piece", "is_piece"]

PIECES: Final = ("statechart", "regime-inputs")
"""Targets of one word."""
_LABELS: Final = ("bullish", "bearish", "consolidation")
_EFFORT: Final = Effort(moments=3, early=2, positions=3, sizes=(0.05, -0.3), steps=3, measured=3)
_LEARNED: Final = 0.6


def is_piece(target: str) -> bool:
    """Whether a target is a piece of regimes."""
    return target in PIECES or target.startswith("decoder:")


def audit_piece(target: str, candles: Sequence[Candles], seed: int = 0) -> list[Audit]:
    """Audits of a piece at the longest of the timeframes given; UsageError for a decoder there is not, a note where candles are too few."""
    own = max(candles, key=lambda c: c.timeframe)
    kind = target.partition(":")[2]
    if target not in PIECES and kind not in (*KINDS, "all", "*"):
        raise UsageError(f"there is no decoder {kind!r}: {did_you_mean(kind, KINDS)}")
    audits: dict[str, Callable[[], list[Audit]]]
    if target == "statechart":
        audits = {target: lambda: [_statechart(own, seed)]}
    elif target == "regime-inputs":
        audits = {target: lambda: _inputs(own, seed)}
    else:
        chosen = KINDS if kind in ("all", "*") else (kind,)
        audits = {f"decoder {one}": partial(_decoder, one, own, seed) for one in chosen}
    found = []
    for name, made in audits.items():
        try:
            found += made()
        except CandelabraError as refused:
            found.append(Audit(name, notes=(str(refused)[:200],)))
    return found


def _decoder(kind: str, candles: Candles, seed: int) -> list[Audit]:
    settings = DecoderSettings(kind, enter=0.4, confirm=2, lag=5 if kind in LATE_KINDS else 0)  # type: ignore[arg-type]
    codes = np.argmax(_chances(candles), axis=1).astype(np.int16)[: int(_LEARNED * len(candles))]
    decoder = Decoder(settings, _LABELS, fit_durations([codes], len(_LABELS)))
    return [audit_decoder(decoder, _chances, candles, effort=_EFFORT, seed=seed)]


def _statechart(candles: Candles, seed: int) -> Audit:
    told = {c.timeframe.name: (c.close_time, _chances(c)) for c in _timeframes(candles)}
    rules = {tf: HysteresisSettings(0.4, 3 - k, 2) for k, tf in enumerate(told)}
    return audit_statechart(rules, dict.fromkeys(told, _LABELS), told, seed=seed)


def _inputs(candles: Candles, seed: int) -> list[Audit]:
    """What a network reads, with scales and switching models learned on the first part of the candles; and learned again."""
    until = int(candles.close_time[int(_LEARNED * len(candles)) - 1])

    def learned(given: Candles) -> RegimeInputs:
        models: dict[str, SwitchingModel] = {}
        for c in _timeframes(given):
            seen = c.between(end_ms=until)
            move = glances(seen, (24,), 960)[:, 0]
            code = np.searchsorted(np.quantile(move, (1 / 3, 2 / 3)), move).astype(np.int16)
            models[c.timeframe.name] = fit_switching([seen], [code], _LABELS, SwitchingSettings(spans=(24,), iterations=5))
        return fit_regime_inputs([given], [np.flatnonzero(given.close_time <= until)], given.timeframe, models)

    def fit(world: World) -> Mapping[str, Any]:
        assert isinstance(world, Market)
        made = learned(world.finest)
        tables = {f"switching {tf}": model.common.table() for tf, model in made.switching.items()}
        return {"centre": made.centre, "spread": made.spread} | tables

    market = Market.of(candles)
    streamed = audit(inputs_subject(learned(candles), "regime inputs"), market, effort=_EFFORT, seed=seed)
    return [streamed, audit_fit("regime inputs, learned again", fit, market, until, seeds=1, ways=("values", "mirror"), measure=False)]


def _timeframes(candles: Candles) -> tuple[Candles, ...]:
    """The candles, and those of four bars each where there is such a timeframe."""
    frame = candles.timeframe
    try:
        return candles, candles_at(candles, Timeframe(f"{4 * frame.count}{frame.unit}"))
    except CandelabraError:
        return (candles,)


def _chances(candles: Candles) -> NDArray[np.float64]:
    """Chances ``(n, 3)`` of rising, falling and going nowhere, from the last 24 bars up to each."""
    if not len(candles):
        return np.zeros((0, len(_LABELS)))
    move = 2.0 * glances(candles, (24,), 960)[:, 0]
    scores = np.stack([move, -move, np.ones(len(candles))], axis=1)
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(chances / chances.sum(axis=1, keepdims=True))
