"""Scalers: fitted on train rows only, invertible, and written to JSON exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import BundleError, DataError, UsageError
from candelabra.features.kernels import window_sum
from candelabra.registry import did_you_mean

__all__ = ["Scaler", "ScalerKind", "ScalerSettings", "fit_scaler"]

ScalerKind = Literal["standard", "robust", "minmax", "per_window", "none"]

_IQR_OF_NORMAL: Final = 1.3489795003921634
_BLOCK: Final = 8192


@dataclass(frozen=True)
class ScalerSettings:
    """How features are scaled.

    ``standard`` (mean, standard deviation), ``robust`` (median, interquartile range / 1.349), ``minmax`` (train range to 0..1),
    ``per_window`` (mean and deviation of the trailing ``window`` rows, nothing fitted), ``none``. ``clip``: scaled values are kept within
    +-clip (None: not at all). ``fill``: what a value not yet known becomes *after* scaling (None: it stays NaN).
    """

    kind: ScalerKind = "standard"
    clip: float | None = 8.0
    fill: float | None = None
    window: int = 256

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScalerKind):
            raise UsageError(f"unknown scaler {self.kind!r}: {did_you_mean(str(self.kind), list(get_args(ScalerKind)))}")
        if self.clip is not None and not self.clip > 0:
            raise UsageError(f"scaler clip must be above 0, got {self.clip}: give a number of standard deviations, or none")
        if self.window < 2:
            raise UsageError(f"scaler window must be at least 2 rows, got {self.window}")


@dataclass(frozen=True, eq=False)
class Scaler:
    """``(value - center) / scale`` per channel; ``center`` and ``scale`` float64 ``(channels,)`` come from train rows only."""

    settings: ScalerSettings
    names: tuple[str, ...]
    center: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def warm_up(self) -> int:
        """Rows needed before a row for its scaled value to be final."""
        return self.settings.window if self.settings.kind == "per_window" else 0

    def transform(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Scaled values, float32 ``(rows, channels)``, rows contiguous; each row reads nothing after it."""
        self._check(values)
        out = np.empty(values.shape, np.float32)
        for begin in range(0, len(values), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            center, scale = self._statistics(values, part)
            scaled = (values[part].astype(np.float64) - center) / scale
            if self.settings.clip is not None:
                np.clip(scaled, -self.settings.clip, self.settings.clip, out=scaled)
            if self.settings.fill is not None:
                scaled[np.isnan(scaled)] = self.settings.fill
            out[part] = scaled
        return out

    def inverse(self, scaled: NDArray[Any], reference: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """The values behind ``scaled`` (exact where nothing was clipped or filled), float64 ``(rows, channels)``.

        A ``per_window`` scaler keeps nothing: it needs the unscaled values as ``reference`` (UsageError without).
        """
        self._check(scaled)
        if self.settings.kind == "per_window":
            if reference is None:
                raise UsageError("a per_window scaler keeps no statistics: give the unscaled values as reference to turn it around")
            self._check(reference)
            center, scale = _trailing(reference, self.settings.window)
        else:
            center, scale = self.center, self.scale
        return np.asarray(scaled, np.float64) * scale + center

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; floats survive exactly."""
        s = self.settings
        return {
            "kind": s.kind,
            "clip": s.clip,
            "fill": s.fill,
            "window": s.window,
            "names": list(self.names),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Scaler:
        """The scaler written by :meth:`to_dict`; BundleError when the content is not one."""
        try:
            settings = ScalerSettings(content["kind"], content["clip"], content["fill"], int(content["window"]))
            center, scale = (np.array(content[k], np.float64) for k in ("center", "scale"))
            names = tuple(str(n) for n in content["names"])
        except (KeyError, TypeError, ValueError) as error:
            raise BundleError(f"not a scaler: {error!r}; the file is damaged or from another version, train again") from None
        if not (center.shape == scale.shape == (len(names),)) or not (np.isfinite(center).all() and (scale > 0).all()):
            raise BundleError(f"a scaler of {len(names)} channels has centers {center.shape} and scales {scale.shape} that cannot be")
        return cls(settings, names, center, scale)

    def _check(self, values: NDArray[Any]) -> None:
        if values.ndim != 2 or values.shape[1] != len(self.names):
            raise DataError(
                f"this scaler was fitted on {len(self.names)} channels, got values of shape {values.shape}: compute the same features"
            )

    def _statistics(self, values: NDArray[Any], part: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.settings.kind != "per_window":
            return self.center, self.scale
        begin = max(0, part.start - self.settings.window)
        center, scale = _trailing(values[begin : part.stop], self.settings.window)
        return center[part.start - begin :], scale[part.start - begin :]


def fit_scaler(
    values: NDArray[Any] | Sequence[NDArray[Any]],
    train: NDArray[Any] | Sequence[NDArray[Any]],
    names: Sequence[str],
    settings: ScalerSettings | None = None,
) -> Scaler:
    """A scaler from train rows alone; a channel that never changes there is only centred.

    ``values`` ``(rows, channels)`` of one symbol or a list of several pooled; ``train`` says which rows may be read, for each: a
    mask or row numbers. NaN are left out. DataError when a channel has no value in the train rows.

    >>> s = fit_scaler(np.array([[1.0], [3.0], [99.0]]), np.array([True, True, False]), ["x"])
    >>> s.transform(np.array([[4.0]]))
    array([[2.]], dtype=float32)
    """
    chosen = settings or ScalerSettings()
    tables = [values] if isinstance(values, np.ndarray) else list(values)
    masks = [train] if isinstance(train, np.ndarray) else list(train)
    if len(tables) != len(masks):
        raise UsageError(f"{len(tables)} tables and {len(masks)} sets of train rows: give one for each")
    center, scale = np.zeros(len(names)), np.ones(len(names))
    if chosen.kind not in ("none", "per_window"):
        for channel, name in enumerate(names):
            column = np.concatenate([np.asarray(t[:, channel])[m] for t, m in zip(tables, masks, strict=True)]).astype(np.float64)
            column = column[~np.isnan(column)]
            if not len(column):
                raise DataError(f"channel {name} has no value in the train rows: more history is needed before training, or leave it out")
            center[channel], scale[channel] = _center_and_scale(column, chosen.kind)
    return Scaler(chosen, tuple(names), center, scale)


def _center_and_scale(column: NDArray[np.float64], kind: ScalerKind) -> tuple[float, float]:
    low, high = float(column.min()), float(column.max())
    if low == high:
        return low, 1.0
    if kind == "minmax":
        return low, high - low
    spread = float(column.std())
    if kind == "robust":
        lower, middle, upper = (float(q) for q in np.quantile(column, [0.25, 0.5, 0.75]))
        wide = (upper - lower) / _IQR_OF_NORMAL
        # a channel that is mostly one value (a gap marker) has no interquartile range: its deviation is what is left
        return middle, wide if wide > 1e-6 * spread else spread
    return float(column.mean()), spread


def _trailing(values: NDArray[Any], window: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the last ``window`` known values at each row; 1 for a deviation of nothing."""
    center, scale = np.zeros(values.shape), np.ones(values.shape)
    for channel in range(values.shape[1]):
        column = values[:, channel].astype(np.float64)
        known = ~np.isnan(column)
        filled = np.where(known, column, 0.0)
        count = np.maximum(window_sum(known.astype(np.float64), window), 1.0)
        mean = window_sum(filled, window) / count
        square = window_sum(filled * filled, window) / count
        variance = square - mean**2
        varies = variance > 1e-9 * square
        center[:, channel] = mean
        scale[:, channel] = np.where(varies, np.sqrt(np.where(varies, variance, 1.0)), 1.0)
    return center, scale
