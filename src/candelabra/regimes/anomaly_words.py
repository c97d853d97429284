"""Why a bar is an alarm, in words: "2022-03-01 10:00: volume 14 times what is usual here at this hour, ..."."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.regimes.anomaly_evidence import SPIKE, STRETCH, Evidence

__all__ = ["reason"]

_DAY_MS: Final = 86_400_000
_SAID: Final = 2.0
"""Components less surprising than one bar in a hundred are not mentioned beside a louder one."""


def reason(
    timeframe: Timeframe,
    open_ms: int,
    names: Sequence[str],
    components: Mapping[str, NDArray[np.float64]],
    evidence: Evidence,
    row: int,
) -> str:
    """What the components ``names``, the loudest first, saw at a bar."""
    told = [name for i, name in enumerate(names) if i == 0 or components[name][row] >= _SAID]
    told = [name for i, name in enumerate(told) if _SAME.get(name) not in told[:i]]
    usual = "usual here" + (" at this hour" if timeframe.milliseconds < _DAY_MS else "")
    parts = [_WORDS[name](evidence, row, usual) for name in told]
    if "return" in told:
        parts[told.index("return")] += f" at the {_percent(10 ** -components['return'][row])} tail"
    return f"{format_time(open_ms)}: " + ", ".join(parts)


_SAME: Final = {"volume": "busy", "busy": "volume", "lost_volume": "thin", "thin": "lost_volume"}
"""Components that say nothing new after another."""


def _percent(share: float) -> str:
    return f"{100 * share:.1g} %" if share >= 1e-7 else "0.00001 % (or rarer)"


def _times(log_ratio: float) -> str:
    ratio = float(np.exp(log_ratio))
    return f"{ratio:.0f} times" if ratio >= 10 else f"{ratio:.1f} times" if ratio >= 1 else f"{ratio:.1%} of"


def _sds(log_size: float) -> str:
    return f"{np.exp(log_size):.1f} expected standard deviations"


def _bars(count: float) -> str:
    return f"{count:.0f} bar" + ("" if count == 1 else "s")


_WORDS: Final[dict[str, Callable[[Evidence, int, str], str]]] = {
    "return": lambda e, t, usual: f"return {np.expm1(e.returns[t]):+.2%}",
    "range": lambda e, t, usual: f"range {_sds(e.span[t])}",
    "stretch": lambda e, t, usual: f"range of {STRETCH} bars {_sds(e.stretch[t])}",
    "volume": lambda e, t, usual: f"volume {_times(e.volume[t])} what is {usual}",
    "lost_volume": lambda e, t, usual: f"volume {_times(e.volume[t])} what is {usual}",
    "stretch_volume": lambda e, t, usual: f"volume of {STRETCH} bars {_times(e.stretch_volume[t])} what is {usual}",
    "busy": lambda e, t, usual: f"volume {_times(e.volume[t])} what is {usual} for a range of {_sds(e.span[t])}",
    "thin": lambda e, t, usual: f"range {_sds(e.span[t])} on volume {_times(e.volume[t])} what is {usual}",
    "wick": lambda e, t, usual: f"a wick of {_sds(e.wick[t])}, out and back",
    "spike": lambda e, t, usual: f"{_sds(e.spike[t])} out and back within {SPIKE} bars",
    "reversal": lambda e, t, usual: f"a jump of {_sds(e.reverted[t])} taken back",
    "stuck": lambda e, t, usual: f"nothing has changed for {_bars(e.repeat_run[t])}",
    "no_trade": lambda e, t, usual: f"nothing traded for {_bars(e.idle_run[t])}",
    "gap": lambda e, t, usual: f"{_bars(e.elapsed[t] - 1)} absent before it",
    "missing": lambda e, t, usual: f"{e.missing[t]:.0f} source bars absent inside",
}
