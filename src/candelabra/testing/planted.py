"""Defects planted on purpose, each a mistake that was really made somewhere: what an audit of causality must catch and name.

Written down before the audit that is held to them. `PLANTED` is the list; each entry says which column, constant, layer or part is to be
named, and by how many bars it is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from candelabra.testing import planted_features, planted_fits, planted_networks, planted_timeframes

__all__ = ["PLANTED", "Law", "Planted"]

Law = Literal["future", "stale", "fit", "label", "split", "layer", "stream"]


@dataclass(frozen=True)
class Planted:
    """One defect.

    ``make`` is what is audited; what it takes and gives follows from ``law``:

    - ``future``, ``stale``, ``stream``: candles (or, with ``timeframes``, candles by timeframe name) -> columns by name;
    - ``fit``: candles and the ends (ms) of train, validation, calibration -> constants by name; ``until`` is the range they may read;
    - ``label``: candles -> columns by name and ``known_at`` (ms) of each row;
    - ``split``: decision times, ``known_at`` -> rows by part;
    - ``layer``: nothing -> a torch module from ``(batch, bars, channels)`` to ``(batch, bars, anything)``.

    ``column``: what must be named. ``bars``: how far it reads ahead (``future``, ``label``, ``layer``), past the end of its range
    (``fit``, ``split``) or lags behind (``stale``); None: to the last bar there is; ``at_least``: the figure is a lower bound, since what
    lies further away moves too little to be seen. ``mode``: in which a layer is wrong.
    """

    name: str
    story: str
    law: Law
    column: str
    bars: int | None
    make: Callable[..., Any]
    at_least: bool = False
    timeframes: tuple[str, ...] = ("1h",)
    until: Literal["train", "validation", "calibration", ""] = ""
    mode: Literal["train", "eval", ""] = ""


_F, _T, _S, _N = planted_features, planted_timeframes, planted_fits, planted_networks

PLANTED: Final = (
    Planted("next_return", "shift(-1) left in from making the target", "future", "return_1", 1, _F.next_return),
    Planted("centred_window", "a rolling mean with center=True", "future", "sma_7", 3, _F.centred_window),
    Planted("global_scaler", "the mean and deviation of the whole series", "future", "z", None, _F.global_scaler),
    Planted("backfill", "the warm-up filled backwards from the first known value", "future", "sma_24", 23, _F.backfill),
    Planted("whole_rank", "the rank of each volume in the whole history", "future", "volume_rank", None, _F.whole_rank),
    Planted("winsorised", "returns clipped at quantiles of the whole history", "future", "clipped", None, _F.winsorised, at_least=True),
    Planted("horizon_in_window", "a z-score over look-back and horizon together (Kronos)", "future", "z_window", 12, _F.horizon_in_window),
    Planted("target_encoding", "each hour encoded by its mean next return, over all days", "future", "hour_code", None, _F.target_encoding),
    Planted("dropna", "unknown rows dropped, the rest put back from the first row on", "future", "momentum_12", 12, _F.dropna),
    Planted(
        "smoothed_regime", "smoothed instead of filtered states of a hidden Markov model", "future", "p_calm", 12, _F.smoothed_regime, True
    ),
    Planted("revised_candle", "spikes mended with the bar after them", "future", "close_clean", 1, _F.revised_candle),
    Planted("refit_on_chunk", "a scaler fitted anew on each chunk it transforms", "future", "z_chunk", 499, _F.refit_on_chunk),
    Planted("coarse_before_close", "the 4h bar's close known from its first hour on", "future", "close_4h", 3, _T.coarse_before_close),
    Planted("open_time_join", "daily candles joined on open times", "future", "return_1d", 23, _T.open_time_join, timeframes=("1h", "1d")),
    Planted(
        "time_zone",
        "4h stamps written two hours west and read as UTC",
        "future",
        "close_4h_local",
        2,
        _T.time_zone,
        timeframes=("1h", "4h"),
    ),
    Planted("label_left", "resampled, labelled left and filled forward", "future", "range_4h", 3, _T.label_left),
    Planted("one_late", "predictions shifted by a bar once too often", "stale", "signal", 1, _F.one_late),
    Planted(
        "window_one_late", "a window that ends a bar early, as in freqtrade's Transformer", "stale", "prediction", 1, _F.window_one_late
    ),
    Planted("double_shift", "a daily column shifted for safety, then joined as of its close", "stale", "return_1d", 24, _T.double_shift),
    Planted("fit_on_all", "a scaler fitted on every row", "fit", "center", None, _S.fit_on_all, until="train"),
    Planted(
        "threshold_on_test",
        "the threshold of most profit on the test range",
        "fit",
        "threshold",
        None,
        _S.threshold_on_test,
        True,
        until="validation",
    ),
    Planted(
        "stopped_on_test",
        "the number of steps of least loss on the test range",
        "fit",
        "weights",
        None,
        _S.stopped_on_test,
        True,
        until="validation",
    ),
    Planted(
        "calibrated_on_test",
        "interval constants from the test range",
        "fit",
        "half_width",
        None,
        _S.calibrated_on_test,
        True,
        until="calibration",
    ),
    Planted(
        "eval_bidirectional", "causal in train() but not in eval() (Kronos)", "layer", "cross", None, _N.eval_bidirectional, mode="eval"
    ),
    Planted("batch_statistics", "a batch norm over positions", "layer", "norm", None, _N.batch_statistics, mode="train"),
)
"""Every defect; names are unique."""
