"""What a regime network reads at each bar: sizes and clarity over several spans, what a chart reader sees, what a switching model hears."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import BundleError, DataError
from candelabra.features.running import RunningWindows
from candelabra.models.regime_features import SPANS, column_names, log_returns, multi_scale
from candelabra.models.switching import SwitchingModel
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.windows.alignment import asof_index

__all__ = ["RegimeInputs", "candles_at", "finite", "fit_regime_inputs", "glances", "heard_logs", "unheard"]

Floats = NDArray[np.float64]
WINDOWS: Final = (6, 12, 24, 36, 48, 72, 144)
REFERENCE: Final = 4_320
_BOUND: Final = 6.0  # scaled inputs beyond count as this
_LEAST: Final = 1e-3


@dataclass(frozen=True, eq=False)
class RegimeInputs:
    """Fitted on training bars: ``centre``, ``spread`` ``(C,)`` of every column, and the switching models by timeframe name.

    ``base``: the timeframe whose bars are read; ``spans``, ``windows``: see `multi_scale` and `glances`.
    """

    base: Timeframe
    spans: tuple[int, ...]
    windows: tuple[int, ...]
    switching: Mapping[str, SwitchingModel]
    centre: Floats
    spread: Floats

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each column, in order."""
        seen = [f"{what}({window})" for window in self.windows for what in ("seen move", "seen volatility")]
        heard = [f"{tf} {what} {label}" for tf, one in self.switching.items() for what in ("alone", "believed") for label in one.labels]
        return (*column_names(self.spans), *seen, *heard)

    def table(self, candles: Candles) -> NDArray[np.float32]:
        """Scaled inputs ``(n, C)`` of the base bars of one symbol; row t reads no bar that closes after bar t."""
        return self.scaled(_columns(candles_at(candles, self.base), self.spans, self.windows, self.switching))

    def scaled(self, raw: Floats) -> NDArray[np.float32]:
        """Columns as they are worked out ``(n, C)``, in the units of training and bounded."""
        return np.minimum(np.maximum((raw - self.centre) / self.spread, -_BOUND), _BOUND).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "base": self.base.name, "spans": list(self.spans), "windows": list(self.windows), "centre": self.centre.tolist(),
            "spread": self.spread.tolist(), "switching": {tf: model.to_dict() for tf, model in self.switching.items()},
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RegimeInputs:
        """What `to_dict` wrote; BundleError when it is not that."""
        try:
            switching = {tf: SwitchingModel.from_dict(one) for tf, one in content["switching"].items()}
            columns = (np.asarray(content[name], np.float64) for name in ("centre", "spread"))
            return cls(timeframe(content["base"]), tuple(content["spans"]), tuple(content["windows"]), switching, *columns)
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"these are not the inputs of a regime network ({error!r}): the bundle is damaged, seal it again") from error


def fit_regime_inputs(
    candles: Sequence[Candles],
    rows: Sequence[NDArray[np.int64]],
    base: str | Timeframe,
    switching: Mapping[str, SwitchingModel] | None = None,
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
    return RegimeInputs(frame, tuple(spans), tuple(windows), models, table.mean(0), np.maximum(table.std(0), _LEAST))


def candles_at(candles: Candles, frame: Timeframe) -> Candles:
    """The candles at a timeframe: themselves, or resampled."""
    return candles if candles.timeframe == frame else resample(candles, frame)


def glances(candles: Candles, windows: Sequence[int] = WINDOWS, reference: int = REFERENCE, past: RunningWindows | None = None) -> Floats:
    """What a chart reader sees over each window, ``(n, 2 windows)``: the return in standard errors, and log volatility over its usual one.

    The usual one is the median over the ``reference`` bars up to the bar, from every half window. ``past``: as in `multi_scale`.
    """
    before, spans = past or RunningWindows(max(windows)), np.array(windows, np.int64)
    r = log_returns(candles, before)
    moved = before.series("move", r).sums(spans)
    squares = np.maximum(before.series("square", r * r).sums(spans), 1e-18)
    size = np.sqrt(squares / np.minimum(before.counts(len(r)), spans[:, None]))
    every = [max(window // 2, 1) for window in windows]
    usual = before.sampled_medians("size", size, [window - 1 for window in windows], every, [max(reference // e, 1) for e in every])
    out = np.stack([moved / np.sqrt(squares), np.log(size / np.where(np.isnan(usual), size, usual))], axis=1)
    before.advance(len(r))
    return np.asarray(out.reshape(-1, len(r)).T)


def heard_logs(heard: Floats, believed: Floats) -> Floats:
    """The columns ``(n, 2 K)`` of a switching model: what its bars say alone and after its filter."""
    return np.asarray(np.log(np.concatenate([np.where(np.isnan(heard), 0.0, heard), believed], axis=1) + _LEAST))


def unheard(model: SwitchingModel) -> Floats:
    """The same before the first bar of its timeframe ``(1, 2 K)``: every regime as likely."""
    return np.full((1, 2 * len(model.labels)), np.log(1 / len(model.labels)))


def _columns(candles: Candles, spans: Sequence[int], windows: Sequence[int], switching: Mapping[str, SwitchingModel]) -> Floats:
    parts = [multi_scale(candles, spans).astype(np.float64), glances(candles, windows)]
    for name, model in switching.items():
        own = candles_at(candles, timeframe(name))
        heard = model.probabilities(own)
        believed = Decoder(DecoderSettings("duration"), model.labels, model.durations).beliefs(heard)
        logs = heard_logs(heard, believed)
        if own is candles:
            parts.append(logs)
            continue
        known = asof_index(candles.close_time, own.close_time)
        parts.append(np.concatenate([unheard(model), logs])[known + 1])
    return finite(np.concatenate(parts, axis=1))


def finite(raw: Floats) -> Floats:
    """Columns with 0 where they are not a number, or none that is finite."""
    return np.where(np.isfinite(raw), raw, 0.0)
