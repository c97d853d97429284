"""From a `Series` to a network's arrays and back: scaling, patches, as-of links, anchor (torch-free: training and serving share it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError
from candelabra.features.scaling import Scaler
from candelabra.features.table import FeatureTable
from candelabra.models.base import QUANTILE_LEVELS, FittedModel, ModelOutput
from candelabra.models.settings import ArmsSettings, Gpt2Settings, receptive_field
from candelabra.windows.alignment import asof_index
from candelabra.windows.series import Series

__all__ = ["REGIME_BARS", "InputSpec", "Prepared", "fine_patches", "quantile_mean", "windows_needed"]


REGIME_BARS: Final = 1024
"""Base bars whose regimes a network's graph tells at once."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A series as a network reads it.

    ``x[tf]`` float32 ``(rows of tf, channels)`` scaled, 0 where unknown (fine timeframes: patches on the base grid); ``asof[link]`` int32;
    ``anchor`` float64 ``(base rows, horizons)``: the anchor's log volatility; ``first``: first base row with every input known.
    """

    x: Mapping[str, NDArray[np.float32]]
    asof: Mapping[str, NDArray[np.int32]]
    anchor: NDArray[np.float64]
    first: int


@dataclass(frozen=True, eq=False)
class InputSpec:
    """What a network needs besides its weights: scalers fitted on train, as-of links and the anchor model.

    ``coarse`` from fine to coarse; ``fine``: how many bars of each finer timeframe make a base bar; ``flat``:
    coarse features are placed beside the base features at each base bar (networks with one encoder); ``volatility_scale``
    ``(horizons,)``: sd of (log volatility - anchor) on
    train; ``typical_log_volatility`` ``(horizons,)``: the anchor's median on train (None in bundles sealed before it was kept).
    """

    base: str
    coarse: tuple[str, ...]
    fine: Mapping[str, int]
    links: tuple[tuple[str, str], ...]
    scalers: Mapping[str, Scaler]
    anchor: FittedModel
    volatility_scale: NDArray[np.float32]
    flat: bool = False
    typical_log_volatility: NDArray[np.float64] | None = None

    def prepare(self, series: Series) -> Prepared:
        """Arrays of a whole series; nothing in row t reads a bar not closed by then."""
        x = {tf: self.scalers[tf].transform(series.features[tf].values) for tf in (self.base, *self.coarse)}
        for tf, count in self.fine.items():
            scaled = self.scalers[tf].transform(series.features[tf].values)
            x[tf] = fine_patches(series, tf, scaled, count)
        if self.flat:
            x[self.base] = np.concatenate([x[self.base], *(_placed(x.pop(tf), series.asof[tf]) for tf in self.coarse)], axis=1)
        asof = {}
        for finer, coarser in self.links:
            direct = finer == self.base
            asof[f"{finer}>{coarser}"] = (
                series.asof[coarser] if direct else asof_index(series.candles[finer].close_time, series.candles[coarser].close_time)
            )
        rows = np.arange(len(series))
        anchor = self.anchor.predict(series, rows).log_volatility.astype(np.float64)
        return Prepared(x, asof, anchor, first_known(series, self.base, self.coarse, anchor))

    def finish(self, quantiles: NDArray[np.float32], volatility: NDArray[np.float32], anchor: NDArray[np.float64]) -> ModelOutput:
        """A network's standardised outputs in natural units (see heads); rows where the anchor is unknown become NaN."""
        scale = np.exp(anchor)[..., None]
        natural = (quantiles * scale).astype(np.float32)
        return ModelOutput(natural, quantile_mean(natural), (anchor + volatility * self.volatility_scale).astype(np.float32))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the anchor (it is a part of its own)."""
        return {
            "base": self.base,
            "coarse": list(self.coarse),
            "fine": dict(self.fine),
            "links": [list(pair) for pair in self.links],
            "scalers": {tf: scaler.to_dict() for tf, scaler in self.scalers.items()},
            "volatility_scale": self.volatility_scale.astype(float).tolist(),
            "flat": self.flat,
            "typical_log_volatility": None if self.typical_log_volatility is None else self.typical_log_volatility.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], anchor: FittedModel) -> InputSpec:
        """What `to_dict` wrote; BundleError when it is not that."""
        try:
            return cls(
                content["base"],
                tuple(content["coarse"]),
                dict(content["fine"]),
                tuple((finer, coarser) for finer, coarser in content["links"]),
                {tf: Scaler.from_dict(scaler) for tf, scaler in content["scalers"].items()},
                anchor,
                np.asarray(content["volatility_scale"], np.float32),
                bool(content["flat"]),
                None if content.get("typical_log_volatility") is None else np.asarray(content["typical_log_volatility"], np.float64),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"these are not a network's inputs ({error!r}): the bundle is damaged, seal it again") from error


def windows_needed(settings: ArmsSettings | Gpt2Settings, spec: InputSpec, bars: int = 1) -> dict[str, int]:
    """Bars of each timeframe's features that can move the newest forecasts (of the last ``bars`` base bars): the length of a full window.

    A coarse arm must know its state at every base bar of the window, and each state has a receptive field of its own.
    """
    if isinstance(settings, Gpt2Settings):
        return {spec.base: settings.context_length}
    base = receptive_field(settings.layers, settings.attention_width) + bars - 1
    length = Timeframe(spec.base).milliseconds * base
    coarse_field = receptive_field(settings.coarse_layers, settings.coarse_attention_width)
    windows = {spec.base: base}
    reach = 0
    for tf in spec.coarse:
        frame = Timeframe(tf).milliseconds
        own = 1 if settings.fusion == "concat" else coarse_field
        # in a hierarchy the finer arm's own window looks up the coarser arm further back
        # windows that answer at many bars begin at any bar of the coarse one: a place more
        windows[tf] = -(-(length + reach) // frame) + 1 + own + (bars > 1)
        reach = reach + own * frame if settings.fusion == "hierarchical" else 0
    return windows


def _placed(coarse: NDArray[np.float32], asof: NDArray[np.int32]) -> NDArray[np.float32]:
    """Coarse rows on the base grid; 0 before the first."""
    out = np.zeros((len(asof), coarse.shape[1]), np.float32)
    known = asof >= 0
    out[known] = coarse[asof[known]]
    return out


def quantile_mean(quantiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of a distribution given by its quantiles at QUANTILE_LEVELS: the area under the quantile function (trapezoids, flat tails)."""
    levels = np.asarray(QUANTILE_LEVELS)
    weight = np.zeros(len(levels))
    weight[1:] += np.diff(levels) / 2
    weight[:-1] += np.diff(levels) / 2
    weight[0] += levels[0]
    weight[-1] += 1 - levels[-1]
    return (quantiles @ weight).astype(np.float32)


def fine_patches(series: Series, tf: str, scaled: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The ``count`` fine bars that closed inside each base bar, flattened: ``(base rows, count x channels)``; absent bars are 0."""
    fine, base = series.candles[tf], series.base_candles
    out = np.zeros((len(base), count, scaled.shape[1]), np.float32)
    slot = fine.bar - fine.timeframe.index(fine.timeframe.floor(base.timeframe.floor(fine.open_time)))
    row = np.searchsorted(base.open_time, base.timeframe.floor(fine.open_time))
    inside = row < len(base)
    inside[inside] &= base.open_time[row[inside]] == base.timeframe.floor(fine.open_time[inside])
    out[row[inside], slot[inside]] = scaled[inside]
    return out.reshape(len(base), -1)


def first_known(series: Series, base: str, coarse: tuple[str, ...], anchor: NDArray[np.float64]) -> int:
    """First base row at which the base features, one bar of each coarser arm and the anchor are known."""
    known = np.isfinite(series.features[base].values).all(axis=1) & np.isfinite(anchor).all(axis=1)
    for tf in coarse:
        ready = _first_full_row(series.features[tf])
        known &= series.asof[tf] >= ready
    return int(np.argmax(known)) if known.any() else len(series)


def _first_full_row(table: FeatureTable) -> int:
    full = np.isfinite(table.values).all(axis=1)
    return int(np.argmax(full)) if full.any() else len(table)
