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
    - ``split``: decision times -> what `evaluation.spans.audit_split` is asked (parts, known_ms, embargo_ms, look_back_ms);
    - ``layer``: nothing -> a torch module from ``(batch, bars, channels)`` to ``(batch, bars, anything)``.

    ``column``: what must be named. ``bars``: how far it reads ahead (``future``, ``label``, ``layer``), past the end of its range
    (``fit``, ``split``) or lags behind (``stale``); None: to the last bar there is; ``at_least``: the figure is a lower bound (with None:
    half of what there is), since what lies further away moves too little to be seen, or not every row. ``mode``: in which a layer is wrong.
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
    Planted(
        "target_encoding", "each hour encoded by its mean next return, over all days", "future", "hour_code", None, _F.target_encoding, True
    ),
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
    Planted("fft_smoothed", "a low-pass filter over the whole series", "future", "low_pass", None, _F.fft_smoothed, True),
    Planted("filtered_back", "a filter run forward and backward so that it does not lag", "future", "zero_lag", 20, _F.filtered_back, True),
    Planted("swing_high", "tops marked before they could be known to be tops", "future", "swing_high", 3, _F.swing_high),
    Planted("share_of_day", "volume divided by the total of its day", "future", "volume_share", 23, _F.share_of_day),
    Planted("bars_to_end", "a weight by the distance from the last bar", "future", "age_weight", None, _F.bars_to_end),
    Planted("detrended", "a trend line through the whole history taken off", "future", "trend_gap", None, _F.detrended),
    Planted("worst_to_come", "a running minimum from the wrong end", "future", "drawdown", 100, _F.worst_to_come, True),
    Planted("barrier_as_feature", "a triple-barrier label among the features", "future", "barrier", 24, _F.barrier_as_feature, True),
    Planted("leading_component", "principal components of all rows", "future", "pc_1", None, _F.leading_component, True),
    Planted("interpolated", "4h closes joined by straight lines", "future", "line_4h", 3, _T.interpolated),
    Planted("nearest", "joined to the nearest close time", "future", "close_4h", 1, _T.nearest, timeframes=("1h", "4h")),
    Planted("range_of_day", "the day's high and low known in the morning", "future", "day_position", 23, _T.range_of_day),
    Planted("lagged_twice", "shifted where it is made and where it is used", "stale", "body", 2, _F.lagged_twice),
    Planted("coarse_one_late", "the last 4h bar but one", "stale", "return_4h", 4, _T.coarse_one_late, timeframes=("1h", "4h")),
    Planted("endless", "a running sum since the first bar", "stream", "obv", None, _F.endless),
    Planted("counting", "a mean that goes on from call to call", "stream", "deviation", None, _F.Counting()),
    Planted("scaled_with_validation", "a scaler fitted on validation too", "fit", "center", 239, _S.scaled_with_validation, until="train"),
    Planted("features_by_all", "inputs chosen by correlation on all rows", "fit", "strength", None, _S.features_by_all, until="train"),
    Planted("codes_of_all", "target encoding fitted on all days", "fit", "hour_code", None, _S.codes_of_all, until="train"),
    Planted("weights_on_test", "ensemble weights fitted on test", "fit", "weights", None, _S.weights_on_test, until="validation"),
    Planted("shuffled_rows", "a random split", "fit", "slope", None, _S.shuffled_rows, True, until="train"),
    Planted("unpurged_targets", "day-ahead targets read past the end of train", "fit", "slope", 24, _S.unpurged_targets, until="train"),
    Planted("barrier_known_early", "a day's label that claims to be known after an hour", "label", "best_24", 23, _S.barrier_known_early),
    Planted("label_one_further", "a label that ends a bar after it says", "label", "return_6", 1, _S.label_one_further),
    Planted("touching_split", "no purge between train and test", "split", "train", 23, _S.touching_split),
    Planted("no_embargo", "an embargo that is stated and not kept", "split", "train", 41, _S.no_embargo),
    Planted("train_after_test", "windows of later training reach into test", "split", "train", 59, _S.train_after_test),
    Planted("doubled_rows", "rows in train and in test", "split", "train", 10, _S.doubled_rows),
    Planted("same_padding", "a convolution padded on both sides", "layer", "conv", 2, _N.same_padding, mode="train"),
    Planted("mask_one_off", "a causal mask with its diagonal one too high", "layer", "attention", 1, _N.mask_one_off, mode="eval"),
    Planted("both_directions", "a bidirectional recurrent layer", "layer", "recurrent", 20, _N.both_directions, True, mode="eval"),
    Planted("pooled_gate", "a gate from the mean over the window", "layer", "gate", None, _N.pooled_gate, mode="eval"),
)
"""Every defect; names are unique."""
