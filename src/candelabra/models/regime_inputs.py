"""What a regime network reads at each bar: sizes and clarity over several spans, what a chart reader sees, what a switching model hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import BundleError, DataError
from candelabra.models.regime_features import SPANS, WINDOWS, glances, multi_scale
from candelabra.models.regime_logistic import RegimeLogistic
from candelabra.models.switching import SwitchingModel
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.windows.alignment import asof_index

__all__ = ["RegimeInputs", "candles_at", "fit_regime_inputs", "glances"]

Floats = NDArray[np.float64]
_BOUND: Final = 6.0  # scaled inputs beyond count as this
_LEAST: Final = 1e-3


@dataclass(frozen=True, eq=False)
class RegimeInputs:
    """Fitted on training bars: ``centre``, ``spread`` ``(C,)`` of every column, and the switching and logistic models by timeframe name.

    ``base``: the timeframe whose bars are read; ``spans``, ``windows``: see `multi_scale` and `glances`.
    """

    base: Timeframe
    spans: tuple[int, ...]
    windows: tuple[int, ...]
    switching: Mapping[str, SwitchingModel]
    centre: Floats
    spread: Floats
    logistic: Mapping[str, RegimeLogistic] = field(default_factory=dict)

    def table(self, candles: Candles) -> NDArray[np.float32]:
        """Scaled inputs ``(n, C)`` of the base bars of one symbol; row t reads no bar that closes after bar t."""
        raw = _columns(candles_at(candles, self.base), self.spans, self.windows, self.switching)
        return np.clip((raw - self.centre) / self.spread, -_BOUND, _BOUND).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "base": self.base.name, "spans": list(self.spans), "windows": list(self.windows), "centre": self.centre.tolist(),
            "spread": self.spread.tolist(), "switching": {tf: model.to_dict() for tf, model in self.switching.items()},
            "logistic": {tf: model.to_dict() for tf, model in self.logistic.items()},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RegimeInputs:
        """What `to_dict` wrote; BundleError when it is not that."""
        try:
            switching = {tf: SwitchingModel.from_dict(one) for tf, one in content["switching"].items()}
            logistic = {tf: RegimeLogistic.from_dict(one) for tf, one in content.get("logistic", {}).items()}
            centre, spread = (np.asarray(content[name], np.float64) for name in ("centre", "spread"))
            base, spans, windows = timeframe(content["base"]), tuple(content["spans"]), tuple(content["windows"])
            return cls(base, spans, windows, switching, centre, spread, logistic)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"these are not the inputs of a regime network ({error!r}): the bundle is damaged, seal it again") from error


def fit_regime_inputs(
    candles: Sequence[Candles],
    rows: Sequence[NDArray[np.int64]],
    base: str | Timeframe,
    switching: Mapping[str, SwitchingModel] | None = None,
    logistic: Mapping[str, RegimeLogistic] | None = None,
    *,
    spans: Sequence[int] = SPANS,
    windows: Sequence[int] = WINDOWS,
) -> RegimeInputs:
    """Scales from the training ``rows`` of each symbol's base bars; DataError where there are none."""
    frame, models = timeframe(base), dict(switching or {})
    seen = [_columns(candles_at(c, frame), spans, windows, models)[r] for c, r in zip(candles, rows, strict=True)]
    if not sum(map(len, seen)):
        raise DataError("there is no training bar to scale the inputs of a regime network by: give more candles or a larger train share")
    table = np.concatenate(seen)
    return RegimeInputs(frame, tuple(spans), tuple(windows), models, table.mean(0), np.maximum(table.std(0), _LEAST), dict(logistic or {}))


def candles_at(candles: Candles, frame: Timeframe) -> Candles:
    """The candles at a timeframe: themselves, or resampled."""
    return candles if candles.timeframe == frame else resample(candles, frame)


def _columns(candles: Candles, spans: Sequence[int], windows: Sequence[int], switching: Mapping[str, SwitchingModel]) -> Floats:
    parts = [multi_scale(candles, spans).astype(np.float64), glances(candles, windows)]
    for name, model in switching.items():
        own = candles_at(candles, timeframe(name))
        heard = model.probabilities(own)
        believed = Decoder(DecoderSettings("duration"), model.labels, model.durations).beliefs(heard)
        logs = np.log(np.concatenate([np.nan_to_num(heard, nan=0.0), believed], axis=1) + _LEAST)
        if own is candles:
            parts.append(logs)
            continue
        known = asof_index(candles.close_time, own.close_time)
        parts.append(np.where((known >= 0)[:, None], logs[np.maximum(known, 0)], np.log(1 / len(model.labels))))
    return np.nan_to_num(np.concatenate(parts, axis=1), posinf=0.0, neginf=0.0)
