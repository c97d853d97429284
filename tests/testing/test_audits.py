"""The checks for users' own code: rules, labels, splits and streams pass when clean and say what is wrong when not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.testing import LawBroken, check_decisions, check_labels, check_split, check_streaming, example_candles
from candelabra.windows.splits import chronological

CANDLES = example_candles(bars=600, gaps=False)
HOUR = 3_600_000


def test_a_decision_rule_is_audited_on_arrays() -> None:
    quantiles = np.random.default_rng(0).normal(size=(400, 3))
    time = np.arange(400, dtype=np.int64) * HOUR

    def rule(arrays: Any) -> Any:
        return np.sign(arrays["quantiles"][:, 1])

    assert check_decisions(rule, {"quantiles": quantiles}, time).passed
    with pytest.raises(LawBroken, match=r"position at .* reads 1 row ahead"):
        check_decisions(lambda arrays: np.roll(rule(arrays), -1), {"quantiles": quantiles}, time)
    with pytest.raises(LawBroken, match="every output is 1 row late"):
        check_decisions(lambda arrays: np.append(0.0, rule(arrays)[:-1]), {"quantiles": quantiles}, time)


def test_labels_may_read_until_they_are_known() -> None:
    def label(candles: Candles, span: int = 6) -> Any:
        log = np.log(candles.close)
        return {"next_6": np.append(log[span:] - log[:-span], np.full(span, np.nan))}, candles.close_time + 6 * HOUR

    assert check_labels(label, CANDLES).passed
    with pytest.raises(LawBroken, match=r"next_6 at .* reads 2 bars past its known_at"):
        check_labels(lambda candles: label(candles, 8), CANDLES)


def test_our_own_split_keeps_its_purge_and_a_shorter_one_does_not() -> None:
    time = CANDLES.close_time
    for purge, clean in ((24, True), (20, False)):
        split = chronological([time], purge_ms=purge * HOUR)
        parts = {name: split.part(name)[0] for name in ("train", "validation", "calibration", "test")}
        if clean:
            assert check_split(parts, time, time + 24 * HOUR, unit_ms=HOUR).passed
        else:
            with pytest.raises(LawBroken, match=r"train at .* overlaps by [34] bars"):
                check_split(parts, time, time + 24 * HOUR, unit_ms=HOUR)


class Mean:
    """An exponential mean, candle by candle."""

    def __init__(self, share: float) -> None:
        self.share, self.value = share, float("nan")

    def __call__(self, candle: Candles) -> dict[str, float]:
        close = float(candle.close[0])
        self.value = close if np.isnan(self.value) else self.value + self.share * (close - self.value)
        return {"mean": self.value}


def test_a_stream_must_give_what_the_history_gives() -> None:
    def batch(candles: Candles) -> Any:
        step = Mean(0.1)
        return {"mean": np.array([step(candles.rows(slice(k, k + 1)))["mean"] for k in range(len(candles))])}

    short = CANDLES.rows(slice(0, 200))
    assert check_streaming(batch, short, stream=lambda: Mean(0.1), steps=3).passed
    with pytest.raises(LawBroken, match="the stream gives"):
        check_streaming(batch, short, stream=lambda: Mean(0.11), steps=3)
    with pytest.raises(LawBroken, match="recomputed from the history it declares to be enough"):
        check_streaming(batch, short, warm_up=5, steps=3)
