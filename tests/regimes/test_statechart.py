"""The chart of live regimes: the compiled rule's states, changes a program hears of, and a restart that nobody notices."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from candelabra.errors import DataError, UsageError
from candelabra.regimes.hysteresis import HysteresisSettings, HysteresisState, hysteresis_run
from candelabra.regimes.statechart import RegimeChange, RegimeChart

HOUR = 3_600_000
COARSE = st.sampled_from([0.0, 0.25, 0.5, 0.6, 0.75, 1.0])
ROW = st.one_of(st.lists(COARSE, min_size=3, max_size=3), st.just([np.nan] * 3))
STREAM = st.lists(ROW, max_size=40).map(lambda rows: np.array(rows, np.float64).reshape(-1, 3))
SETTINGS = st.builds(
    HysteresisSettings,
    enter=st.one_of(COARSE, st.tuples(COARSE, COARSE, COARSE)),
    confirm=st.integers(1, 3),
    min_hold=st.integers(0, 4),
)
LABELS = ("bullish", "bearish", "consolidation")
PLAIN = HysteresisSettings(enter=0.6, confirm=2)


def chart(**settings: HysteresisSettings) -> RegimeChart:
    given = settings or {"_1h": PLAIN, "_4h": HysteresisSettings()}
    return RegimeChart({k.strip("_"): v for k, v in given.items()}, {k.strip("_"): LABELS for k in given})


def sure(label: int, probability: float = 0.8) -> list[float]:
    rest = (1 - probability) / 2
    return [probability if k == label else rest for k in range(3)]


@given(STREAM, STREAM, SETTINGS, SETTINGS)
def test_the_chart_stands_where_the_compiled_rule_does(
    fine: NDArray[np.float64], coarse: NDArray[np.float64], first: HysteresisSettings, second: HysteresisSettings
) -> None:
    live = chart(_1h=first, _4h=second)
    runs = {"1h": hysteresis_run(fine, first), "4h": hysteresis_run(coarse, second)}
    for t in range(max(len(fine), 4 * len(coarse))):
        bars = {"1h": fine[t]} if t < len(fine) else {}
        if t % 4 == 3 and t // 4 < len(coarse):
            bars["4h"] = coarse[t // 4]
        live.send_bar((t + 1) * HOUR, bars)
        for name, row in (("1h", t), ("4h", t // 4)):
            if name in bars:
                run = runs[name]
                expected = HysteresisState(int(run.code[row]), int(run.age[row]), int(run.candidate[row]), int(run.count[row]))
                assert live.states[name] == expected
    assert live.states == {name: run.end for name, run in runs.items()}


@given(STREAM, SETTINGS, st.integers(0, 40))
def test_a_chart_restored_in_mid_stream_goes_on_alike(stream: NDArray[np.float64], settings: HysteresisSettings, cut: int) -> None:
    whole, first = chart(_1h=settings), chart(_1h=settings)
    restored = chart(_1h=settings)
    told, again = [], []
    for t, p in enumerate(stream):
        told += whole.send("1h", t * HOUR, p)
        if t == cut:
            restored.resume(json.loads(json.dumps(first.save())))
        again += (first if t < cut else restored).send("1h", t * HOUR, p)
    assert again == told
    if cut < len(stream):
        assert restored.save() == whole.save()


@given(STREAM, SETTINGS, st.integers(0, 40))
def test_a_chart_begins_where_history_ended(stream: NDArray[np.float64], settings: HysteresisSettings, cut: int) -> None:
    live = RegimeChart({"1h": settings}, {"1h": LABELS}, begin={"1h": hysteresis_run(stream[:cut], settings).end})
    for t, p in enumerate(stream[cut:]):
        live.send("1h", t * HOUR, p)
    assert live.states["1h"] == hysteresis_run(stream, settings).end


def test_changes_are_told_once_the_bar_is_done_the_shortest_timeframe_first() -> None:
    live = chart()
    heard: list[tuple[RegimeChange, Mapping[str, str | None]]] = []
    end = live.on_change(lambda change: heard.append((change, live.regimes)))
    assert live.regimes == {"1h": None, "4h": None}
    made = live.send_bar(4 * HOUR, {"4h": sure(1), "1h": sure(0)})
    both = {"1h": "bullish", "4h": "bearish"}
    assert [change for change, _ in heard] == list(made)
    assert [(c.timeframe, c.before, c.after, c.age_bars, seen) for c, seen in heard] == [
        ("1h", None, "bullish", 0, both),
        ("4h", None, "bearish", 0, both),
    ]
    live.send("1h", 5 * HOUR, sure(2))
    assert heard[2:] == []
    live.send("1h", 6 * HOUR, sure(2, 0.7))
    assert heard[2][0] == RegimeChange("1h", 6 * HOUR, "bullish", "consolidation", 2, 0.7)
    live.send("1h", 7 * HOUR, sure(0))
    assert [c.timeframe for c in live.send_bar(8 * HOUR, {"4h": sure(0), "1h": sure(0)})] == ["1h", "4h"], "whichever changed last"
    end()
    end()
    live.send("4h", 12 * HOUR, sure(1))
    assert len(heard) == 5
    assert live.time_ms == {"1h": 8 * HOUR, "4h": 12 * HOUR}


def test_bars_before_the_first_known_one_count_as_unknown() -> None:
    live = chart(_1h=PLAIN)
    live.send("1h", 0, None)
    live.send("1h", HOUR, [0.5, np.nan, 0.5])
    assert live.regimes == {"1h": None}
    (change,) = live.send("1h", 2 * HOUR, sure(1, 0.4))
    assert (change.before, change.after, change.age_bars) == (None, "bearish", 2)


def test_a_listener_that_fails_reaches_the_sender_and_the_chart_has_moved() -> None:
    live = chart(_1h=PLAIN)

    def fail(change: RegimeChange) -> None:
        raise OSError("no line to the exchange")

    live.on_change(fail)
    with pytest.raises(OSError, match="no line"):
        live.send("1h", 0, sure(0))
    assert live.regimes == {"1h": "bullish"}
    assert live.time_ms == {"1h": 0}


def test_a_listener_may_send_the_next_bar() -> None:
    live = chart(_1h=HysteresisSettings(), _4h=HysteresisSettings())
    live.on_change(lambda change: live.send("4h", 4 * HOUR, sure(2)) if change.timeframe == "1h" else None)
    assert [c.after for c in live.send("1h", 4 * HOUR, sure(0))] == ["bullish"]
    assert live.regimes == {"1h": "bullish", "4h": "consolidation"}


def test_what_cannot_be_is_refused_before_anything_moves() -> None:
    live = chart()
    live.send_bar(4 * HOUR, {"1h": sure(0), "4h": sure(0)})
    before = live.save()
    with pytest.raises(
        DataError, match="the 4h bar that closed at 1970-01-01 04:00 came after that of 1970-01-01 04:00: send each bar once"
    ):
        live.send_bar(4 * HOUR, {"4h": sure(1)})
    with pytest.raises(DataError, match="no 4h bar closes at 1970-01-01 05:00"):
        live.send_bar(5 * HOUR, {"1h": sure(1), "4h": sure(1)})
    with pytest.raises(UsageError, match=r"shape \(2,\) for 3 labels"):
        live.send_bar(8 * HOUR, {"4h": sure(1), "1h": [0.5, 0.5]})
    with pytest.raises(UsageError, match="no timeframe '2h'"):
        live.send("2h", 8 * HOUR, sure(1))
    assert live.save() == before


@pytest.mark.parametrize(
    ("settings", "labels", "words"),
    [
        ({}, {}, "no timeframe"),
        ({"1h": PLAIN}, {"4h": LABELS}, "settings were given for 1h and labels for 4h"),
        ({"1h": PLAIN}, {"1h": ()}, "at least one name"),
        ({"1h": PLAIN}, {"1h": ("a", "a")}, "each once"),
        ({"1h": PLAIN}, {"1h": "bullish"}, "has the labels 'bullish'"),
        ({"1h": PLAIN}, {"1h": ("a", "")}, "at least one name"),
        ({"1 hour": PLAIN}, {"1 hour": LABELS}, "is not a timeframe"),
        ({"1h": HysteresisSettings((0.5, 0.5))}, {"1h": LABELS}, "2 thresholds for 3 labels"),
    ],
)
def test_charts_that_cannot_be_are_refused(settings: dict[str, HysteresisSettings], labels: dict[str, tuple[str, ...]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        RegimeChart(settings, labels)


def test_another_chart_or_a_damaged_one_is_not_resumed() -> None:
    live = chart()
    live.send("1h", HOUR, sure(0))
    saved = live.save()
    other = chart(_1h=HysteresisSettings(enter=0.6, confirm=5), _4h=HysteresisSettings())
    with pytest.raises(UsageError, match=r"1h was saved under another rule \(confirm was 2, is 5\)"):
        other.resume(saved)
    with pytest.raises(UsageError, match="saved was a chart of 1h, 4h, this one has 1h"):
        chart(_1h=PLAIN).resume(saved)
    with pytest.raises(UsageError, match="its form is None"):
        live.resume({})
    for damaged in ({"regions": 3}, {"regions": {"1h": {}, "4h": {}}}, {"regions": {**saved["regions"], "4h": None}}):
        with pytest.raises(UsageError, match="damaged"):
            live.resume({"form": 1, **damaged})
    beyond = json.loads(json.dumps(saved))
    beyond["regions"]["1h"]["state"] = 3
    with pytest.raises(UsageError, match="no state of hysteresis over 3 labels"):
        live.resume(beyond)
    assert live.save() == saved
    with pytest.raises(UsageError, match="no state of hysteresis"):
        RegimeChart({"1h": PLAIN}, {"1h": LABELS}, begin={"1h": HysteresisState(7, 2)})
    with pytest.raises(UsageError, match="no timeframe '4h'"):
        RegimeChart({"1h": PLAIN}, {"1h": LABELS}, begin={"4h": HysteresisState()})


def test_two_charts_of_one_rule_share_nothing_that_moves() -> None:
    first, second = chart(), chart()
    first.on_change(lambda change: pytest.fail("the other chart's change") if change.time_ms == 2 * HOUR else None)
    first.send("1h", HOUR, sure(0))
    second.send("1h", 2 * HOUR, sure(1))
    assert (first.regimes["1h"], second.regimes["1h"]) == ("bullish", "bearish")
    assert first.settings["1h"] is PLAIN
    assert first.labels == {"1h": LABELS, "4h": LABELS}
    assert RegimeChart({"1d": PLAIN, "15m": PLAIN, "4h": PLAIN}, dict.fromkeys(("4h", "15m", "1d"), LABELS)).timeframes == (
        "15m",
        "4h",
        "1d",
    )


def test_the_diagram_shows_every_way_and_marks_where_it_stands() -> None:
    live = RegimeChart({"1h": PLAIN}, {"1h": ('say "up"', "unknown")})
    live.send("1h", 0, [0.9, 0.1])
    drawn = live.diagram()
    assert drawn.startswith("stateDiagram-v2")
    assert """state "say 'up'" as tf_1h_0""" in drawn
    assert 'state "(unknown)" as tf_1h_start' in drawn
    assert "tf_1h_0 --> tf_1h_1 : Bar [p >= 0.6, 2 in a row, held 0]" in drawn
    assert "tf_1h_0:::active" in drawn
    assert "tf_1h_start:::active" not in drawn
