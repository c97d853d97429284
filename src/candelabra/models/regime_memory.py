"""How many bars it takes until it no longer matters where a history begins: of inputs, switching models and filters, from settings alone.

Some of what is read never quite forgets (a running level of volatility, a belief that is passed on), so that *the same* is a small
difference and not none: `SAME` where a network speaks, `SAME_ALONE` where switching models do. Measured on simulated markets and on BTC
(`docs/experiments.md`), and by a test.
"""

from __future__ import annotations

import math
from typing import Final

from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.models.regime_features import LEVEL_SPAN, REFERENCE
from candelabra.models.regime_inputs import RegimeInputs
from candelabra.models.switching import SwitchingModel
from candelabra.regimes.decoding import Decoder
from candelabra.regimes.durations import DurationModel

__all__ = ["SAME", "SAME_ALONE", "base_bars", "filter_memory", "inputs_memory", "switching_memory"]

SAME: Final = 0.05
"""Chances of a network after `inputs_memory` bars differ by less from those of any longer history (one in a hundred by more than 0.02)."""
SAME_ALONE: Final = 0.005
"""The same of a switching model, after `switching_memory` bars."""

_LEVEL_LEFT: Final = 0.15  # weight of the level of volatility that may lie before the beginning: 0.3 moves chances by 0.1 and more
_LEFT: Final = 1e-3  # of everything else that decays


def inputs_memory(inputs: RegimeInputs) -> int:
    """Base bars that a row of `RegimeInputs.table` remembers: the longest of level, reference, spans and what is heard."""
    level = _until(1 - 2 / (LEVEL_SPAN + 1), _LEVEL_LEFT)
    heard = (
        (switching_memory(one) + _belief_memory(one.durations)) * base_bars(name, inputs.base) for name, one in inputs.switching.items()
    )
    return max(level, REFERENCE + max(inputs.windows), max(inputs.spans), *heard, 1)


def switching_memory(model: SwitchingModel) -> int:
    """Bars of its own timeframe until a switching model has forgotten its beginning, for a symbol it learned from.

    A symbol that it never saw is measured by its own running size, which remembers some 14,000 bars more.
    """
    keep = 1 - 2 / (model.span + 1)
    persistence = max(p.persistence for p in (model.common, *model.own.values()))
    return max(_until(keep, _LEFT), _until(persistence, _LEFT), _belief_memory(model.durations))


def filter_memory(decoder: Decoder) -> int:
    """Bars of its own timeframe that a decoder's beliefs remember; 0 where each bar is believed by itself.

    (The *label* of a decoder with hysteresis is remembered until it next changes, whatever is believed.)
    """
    return _belief_memory(decoder.durations) if decoder.settings.kind in ("markov", "duration", "fixed_lag") else 0


def _belief_memory(durations: DurationModel) -> int:
    """Without any evidence a chain forgets by the chance of leaving the label that lasts longest; evidence makes that faster."""
    return _until(1 - 1 / max(float(durations.mean.max()), 2.0), _LEFT)


def base_bars(name: str, base: Timeframe) -> int:
    """Base bars in a bar of the timeframe ``name`` (of a month: in a mean one)."""
    return -(-timeframe(name).milliseconds // base.milliseconds)


def _until(decay: float, left: float) -> int:
    """Steps until a weight has decayed to ``left``."""
    return math.ceil(math.log(left) / math.log(decay))
