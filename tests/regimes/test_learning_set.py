"""Learning sets: every form is read, bad ones are refused with row and remedy, and what is written is read back the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import Timeframe
from candelabra.errors import DataError, SourceError, UsageError
from candelabra.regimes.learning_files import Examined, examine_labels, read_learning_set
from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.purge import hindsight_span_ms, known_by
from candelabra.regimes.segmentation import Segmentation
from candelabra.testing import example_candles

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01 00:00, a Monday

SEGMENTS = """symbol,timeframe,start,end,label,confidence,known_at,annotator,note
BTC/USDT,1h,2024-01-01T00:00:00Z,2024-01-01T05:00:00Z,bullish,0.8,,ann,
BTC/USDT,1h,2024-01-01T05:00:00Z,2024-01-01T09:00:00Z,bearish,,2024-01-02T00:00:00Z,ann,"looks, so"
BTC/USDT,1h,2024-01-02 00:00,2024-01-02 03:00,bullish,1,,bob,
BTC/USDT,1d,2024-01-01,2024-01-03,volatile,,,ann,
"""


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write_(text: str, name: str = "labels.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_


# what can be read


def test_a_segments_table_holds_markets_timeframes_and_annotators(write: Any) -> None:
    made = read_learning_set(write(SEGMENTS))
    assert made.labels == ("bullish", "bearish", "volatile")
    assert [(s, t.name) for s, t in made.markets] == [("BTC/USDT", "1h"), ("BTC/USDT", "1d")]
    ann = made.annotators("BTC/USDT", "1h")["ann"]
    assert ann.names == ("bullish", "bearish")
    assert ann.start[0] == START
    assert ann.confidence.tolist() == [np.float32(0.8), 1]
    assert ann.known_at.tolist() == [START + 5 * HOUR, START + DAY]
    assert ann.note == ("", "looks, so")
    assert made.annotators("BTC/USDT", "1h")["bob"].start[0] == START + DAY
    assert made.annotators("BTC/USDT", "1d")["ann"].bars.tolist() == [2]
    assert len(made) == 4


@pytest.mark.parametrize("unit", [1, 1000])
def test_times_in_seconds_and_milliseconds_semicolons_and_other_names(write: Any, unit: int) -> None:
    a, b = START // 1000 * unit, (START // 1000 + 7200) * unit
    made = read_learning_set(write(f"pair;tf;start_time;end_time;regime\nBTCUSDT;1h;{a};{b};3\n"))
    (one,) = made.segmentations
    assert (one.symbol, one.names, int(one.start[0]), int(one.end[0])) == ("BTC/USDT", ("3",), START, START + 2 * HOUR)


def test_what_the_table_does_not_say_comes_from_the_name_or_is_told(write: Any) -> None:
    text = "start,end,label\n2024-01-01,2024-01-02,up\n"
    assert read_learning_set(write(text, "ETHUSDT_4h.csv")).markets[0] == ("ETH/USDT", Timeframe("4h"))
    assert read_learning_set(write(text), symbol="btcusdt", timeframe="1d").markets[0][0] == "BTC/USDT"
    with pytest.raises(DataError, match="--timeframe 1h"):
        read_learning_set(write(text), symbol="BTC/USDT")
    with pytest.raises(DataError, match="--symbol BTC/USDT"):
        read_learning_set(write(text), timeframe="1d")


def test_labels_bar_by_bar_become_segments(write: Any) -> None:
    rows = [(0, "up"), (1, "up"), (2, ""), (3, "up"), (4, "down"), (6, "down"), (7, "down")]
    text = "timestamp,label\n" + "".join(f"{START + k * HOUR},{label}\n" for k, label in rows)
    (one,) = read_learning_set(write(text), symbol="X/USDT").segmentations
    assert one.timeframe.name == "1h"
    assert ((one.start - START) // HOUR).tolist() == [0, 3, 4, 6]
    assert ((one.end - START) // HOUR).tolist() == [2, 4, 5, 8]
    assert one.names == ("up", "up", "down", "down")


def test_bars_that_the_candles_lack_do_not_break_labels(write: Any) -> None:
    candles = example_candles(bars=300)
    text = "open_time,label,confidence\n" + "".join(f"{t},up,{0.5 if k else 1.0}\n" for k, t in enumerate(candles.open_time))
    assert len(read_learning_set(write(text), symbol=candles.symbol)) > 1
    (one,) = read_learning_set(write(text), candles=[candles]).segmentations
    assert (len(one), one.symbol) == (1, "SIM/USDT")
    assert one.confidence[0] == pytest.approx(0.5, abs=0.01)


def test_bare_change_points_are_boundaries_without_labels(write: Any) -> None:
    times = "open_time\n2024-01-01T04:00Z\n2024-01-01T02:00Z\n2024-01-02T00:00Z\n"
    made = read_learning_set(write(times), symbol="X/USDT", timeframe="1h")
    assert len(made) == 0
    assert made.labels == ()
    (points,) = made.change_points.values()
    assert ((points - START) // HOUR).tolist() == [2, 4, 24]
    mixed = (
        "symbol,timeframe,start,end,label\nX/USDT,1h,2024-01-01,2024-01-02,up\nX/USDT,1h,2024-01-03,,\nX/USDT,1h,2024-01-04,2024-01-05,\n"
    )
    made = read_learning_set(write(mixed))
    assert len(made) == 1
    assert ((made.change_points["X/USDT", Timeframe("1h"), ""] - START) // DAY).tolist() == [2, 3, 4]


def region(start: Any, end: Any, *labels: str, instant: bool = False, **more: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "instant": instant, "timeserieslabels": list(labels)}
    return {"value": value, "id": "a", "from_name": "label", "to_name": "ts", "type": "timeserieslabels", "origin": "manual"} | more


def studio(*annotations: dict[str, Any], **task: Any) -> str:
    return json.dumps(
        [{"id": 7, "annotations": list(annotations), "predictions": [], "data": {"csv": "/data/upload/1/x-BTCUSDT_1h.csv"}} | task]
    )


def test_a_label_studio_export_is_put_on_the_bars_whose_points_were_drawn_over(write: Any) -> None:
    drawn = [
        region(START - 1800_000.5, START + 2.4 * HOUR, "bullish"),
        region(START + 2.6 * HOUR, START + 5 * HOUR, "bearish"),
        region(START + 5 * HOUR, START + 7 * HOUR, "bullish"),
        region(START + 20 * HOUR, START + 20 * HOUR, "bearish", instant=True),
        {"type": "choices", "value": {"choices": ["ok"]}, "from_name": "c", "to_name": "ts"},
    ]
    ann = {"completed_by": {"id": 1, "email": "ann@example.org"}, "result": drawn, "was_cancelled": False}
    bob = {"completed_by": 2, "result": [region("2024-01-01 01:00:00", "2024-01-01 03:00:00", "bullish")]}
    skipped = {"completed_by": 3, "result": drawn, "was_cancelled": True}
    made = read_learning_set(write(studio(ann, bob, skipped, predictions=[{"result": drawn}]), "export.json"))
    one = made.annotators("BTC/USDT", "1h")["ann@example.org"]
    assert ((one.start - START) // HOUR).tolist() == [0, 3, 5]
    assert ((one.end - START) // HOUR).tolist() == [3, 5, 8]
    assert ((made.annotators("BTC/USDT", "1h")["2"].end - START) // HOUR).tolist() == [4]
    assert ((made.change_points["BTC/USDT", Timeframe("1h"), "ann@example.org"] - START) // HOUR).tolist() == [20]
    assert set(made.annotators("BTC/USDT", "1h")) == {"ann@example.org", "2"}
    said = " ".join(made.notes)
    assert "1 cancelled" in said
    assert "1 predictions" in said
    assert "1 regions that are no time series labels" in said


def test_label_studios_short_form_is_read(write: Any) -> None:
    task = {
        "id": 1,
        "csv": "x-BTCUSDT_4h.csv",
        "label": [{"start": START, "end": START + 8 * HOUR, "instant": False, "timeserieslabels": ["up"]}],
    }
    (one,) = read_learning_set(write(json.dumps([task | {"annotator": 5}]), "min.json")).segmentations
    assert (one.annotator, one.bars.tolist()) == ("5", [3])


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        ([region(START, START + HOUR, "up", "down")], "has 2 labels"),
        ([region(START + 60_000, START + 120_000, "up")], "region 1.*holds no 1h bar"),
        ([region(START, START + 9 * HOUR, "up"), region(START + 4 * HOUR, START + 6 * HOUR, "down")], "region 2.*overlaps region 1"),
    ],
)
def test_drawings_that_are_no_labels_are_refused(write: Any, regions: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_learning_set(write(studio({"completed_by": 1, "result": regions}), "export.json"))


# what is written is read back


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=6)

NOTE = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=8)


@st.composite
def learning_sets(draw: st.DrawFn) -> LearningSet:
    labels = draw(st.lists(TEXT, min_size=1, max_size=3, unique=True))
    made = []
    for symbol in draw(st.lists(st.sampled_from(["BTC/USDT", "ETH/EUR"]), min_size=1, unique=True)):
        for frame in draw(st.lists(st.sampled_from(["1m", "1h", "1d", "1w", "1M"]), min_size=1, max_size=2, unique=True)):
            for annotator in draw(st.lists(st.just("") | TEXT, min_size=1, max_size=2, unique=True)):
                edges = sorted(draw(st.sets(st.integers(0, 60), min_size=2, max_size=8)))
                grid = Timeframe(frame)
                times = np.array([int(grid.after(int(grid.floor(START)), k)) for k in edges])
                n = len(times) - 1
                keep = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
                keep[0] = True
                code = draw(st.lists(st.integers(0, len(labels) - 1), min_size=n, max_size=n))
                confidence = draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n))
                later = draw(st.lists(st.integers(0, 10**9), min_size=n, max_size=n))
                note = draw(st.lists(NOTE, min_size=n, max_size=n))
                said = [text for text, kept in zip(note, keep, strict=True) if kept]
                columns = (times[:-1], times[1:], np.array(code), np.array(confidence), times[1:] + np.array(later))
                made.append(
                    Segmentation.of(
                        symbol, frame, labels, *(c[keep] for c in columns), annotator=annotator,
                        note=said if any(said) else (),
                    )
                )  # fmt: skip
    points = {("BTC/USDT", "1h", "p"): START + HOUR * np.array(sorted(draw(st.sets(st.integers(0, 99), max_size=4))), np.int64)}
    return LearningSet.of(made, points if len(points["BTC/USDT", "1h", "p"]) else {})


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
@given(made=learning_sets())
def test_a_learning_set_is_written_and_read_back_without_loss(tmp_path_factory: Any, ending: str, made: LearningSet) -> None:
    path = tmp_path_factory.mktemp("set") / f"set.{ending}"
    made.write(path)
    again = read_learning_set(path)
    assert again.fingerprint == made.fingerprint
    assert again.markets == made.markets
    assert again.labels == made.labels


def test_other_endings_and_places_are_refused(tmp_path: Path, write: Any) -> None:
    made = read_learning_set(write(SEGMENTS))
    with pytest.raises(UsageError, match=r"labels\.csv"):
        made.write(tmp_path / "labels.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError):
        made.write(tmp_path / "file" / "x.csv")


# what is refused


HEADER = "symbol,timeframe,start,end,label\n"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            "X/Y,4h,2024-01-01,2024-01-03,up\nX/Y,4h,2024-01-02,2024-01-04,down\n",
            "line 3: down.*overlaps line 2.*2024-01-02 00:00.*annotator",
        ),
        ("X/Y,4h,2024-01-01,2024-01-03,up\nX/Y,4h,2024-01-01,2024-01-03,up\n", "line 3.*overlaps line 2"),
        ("X/Y,4h,2024-01-03,2024-01-01,up\n", "line 2.*ends before it begins: .*exchange"),
        ("X/Y,4h,2024-01-03,2024-01-03,up\n", "line 2.*ends where it begins"),
        (
            "X/Y,4h,2024-01-01T01:30Z,2024-01-02T00:00Z,up\nX/Y,4h,2024-01-02T00:00Z,2024-01-03T00:00Z,up\n",
            "line 2: start.*open at.*00:00 and",
        ),
        (
            "X/Y,4h,2024-01-01T00:00Z,2024-01-01T23:59:59Z,up\nX/Y,4h,2024-01-02T00:00Z,2024-01-03T23:59:59Z,down\n",
            "every end.*1 s before",
        ),
        (
            "X/Y,1d,2024-01-01T23:00,2024-01-04T23:00,up\nX/Y,1d,2024-01-05T23:00,2024-01-06T23:00,down\n",
            "23 h after a bar of 1d.*time-zone",
        ),
        ("X/Y,4h,2024-01-01T02:00,2024-01-01T06:00,up\nX/Y,4h,2024-01-01T10:00,2024-01-01T14:00,down\n", "all 4 times.*2 h after"),
        ("X/Y,60min,2024-01-01,2024-01-02,up\n", "line 2: timeframe holds '60min'.*1h, 4h"),
        ("X/Y,1h,soon,2024-01-02,up\nX/Y,1h,2024-01-01,2024-01-02,up\n", "line 2: start holds 'soon'.*no time"),
        ("X/Y,1h,,2024-01-02,up\n", "line 2.*has no time"),
        ("X/Y,1h,2024-01-01,,up\n", "line 2: up.*has no end"),
        (",1h,2024-01-01,2024-01-02,up\nX/Y,1h,2024-01-01,2024-01-02,up\n", "line 2: no symbol"),
        ("X/Y,,2024-01-01,2024-01-02,up\nX/Y,1h,2024-01-01,2024-01-02,up\n", "line 2: no timeframe"),
        ("X/Y,1h,2024-01-01,2024-01-02\n", "line 2 has 4 cells"),
        ('X/Y,1h,2024-01-01,2024-01-02,"up\n', "quote"),
    ],
)
def test_a_bad_set_is_refused_with_row_and_remedy(write: Any, rows: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_learning_set(write(HEADER + rows))


def test_every_kind_of_flaw_is_told_and_the_good_rows_are_kept(write: Any) -> None:
    rows = (
        "X/Y,1h,2024-01-01,2024-01-02,up\nX/Y,1h,2024-01-03,2024-01-02,up\nX/Y,1h,2024-01-01T05:00,2024-01-02,down\n"
        "X/Y,1h,2024-01-05,2024-01-06,wobbly\nX/Y,1h,2024-01-07,2024-01-08,down\n"
    )
    found = examine_labels(write(HEADER + rows), labels=("up", "down"))
    assert [(flaw.kind, flaw.row) for flaw in found.flaws] == [("reversed", 3), ("overlap", 4), ("unknown label", 5)]
    assert "known: down, up" in str(found.flaws[2])
    assert found.learning_set.segmentations[0].names == ("up", "down")
    with pytest.raises(DataError, match=r"line 3.*line 4.*line 5"):
        read_learning_set(write(HEADER + rows), labels=("up", "down"))


def test_a_stray_hour_is_a_slip_and_a_season_is_a_zone(write: Any) -> None:
    def rows(hours: list[int]) -> str:
        days = [np.datetime64("2024-01-01") + np.timedelta64(10 * k, "D") for k in range(len(hours))]
        return HEADER + "".join(f"X/Y,1d,{d}T{h:02d}:00:00Z,{d + 3}T{h:02d}:00:00Z,up\n" for d, h in zip(days, hours, strict=True))

    with pytest.raises(DataError, match="line 11: start"):
        read_learning_set(write(rows([0] * 9 + [1] + [0] * 20)))
    with pytest.raises(DataError, match=r"22 h or 23 h \(summer and winter\) after"):
        read_learning_set(write(rows([23] * 9 + [22] * 21)))
    berlin = HEADER + "X/Y,1d,2024-01-02T01:00,2024-07-02T02:00,up\n"
    assert read_learning_set(write(berlin), time_zone="Europe/Berlin").segmentations[0].bars.tolist() == [182]


def test_bars_labelled_twice_and_confidences_that_are_none_are_refused(write: Any) -> None:
    with pytest.raises(DataError, match=r"line 4: the bar 2024-01-01 00:00.*again after line 2"):
        read_learning_set(write("time,label\n2024-01-01T00:00Z,a\n2024-01-01T01:00Z,b\n2024-01-01T00:00Z,b\n"), symbol="X/Y")
    with pytest.raises(DataError, match=r"line 2: confidence holds '7'.*0 to 1"):
        read_learning_set(write("symbol,timeframe,start,end,label,confidence\nX/Y,1h,2024-01-01,2024-01-02,a,7\n"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "segments table needs start, end and label"),
        (b"PAR1 damaged", "not Parquet that can be read"),
        (b"\xff\xfe\x00s", "UTF-8"),
        (b'{"start": 1}\n{"start', "line 2 is not JSON"),
        (b"[1, 2]", "row 1 is 1"),
        (b"start,start,end\n", "names a column twice"),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(DataError, match=words):
        read_learning_set(path)


CELLS = st.sampled_from(
    [
        "X/Y",
        "1h",
        "2024-01-01",
        "2024-01-02T03:00:00Z",
        "1704067200000",
        "0.5",
        "up",
        "",
        "nan",
        "1e400",
        "9" * 30,
        "-1",
        "1h1",
        "2024-13-45",
    ]
)
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(["up", "2024-01-01", "BTCUSDT_1h.csv", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["annotations", "completions", "result", "value", "start", "end", "timeserieslabels", "label", "completed_by", "data", "symbol",
         "timeframe", "predictions", "time", "confidence", "known_at"]), inner, max_size=4),
    max_leaves=14,
)  # fmt: skip


def attempted(path: Path, **options: Any) -> tuple[Examined | None, str]:
    """What is read, or what is said; any other error is one of ours."""
    try:
        return examine_labels(path, **options), ""
    except (DataError, UsageError) as refused:
        return None, str(refused)


@given(st.lists(st.lists(CELLS, min_size=8, max_size=8), max_size=6), st.booleans())
def test_whatever_stands_in_cells_is_read_or_refused_in_words(tmp_path_factory: Any, rows: list[list[str]], told: bool) -> None:
    path = tmp_path_factory.mktemp("cells") / "x.csv"
    names = "symbol,timeframe,start,end,label,confidence,known_at,annotator\n"
    path.write_text(names + "".join(",".join(row) + "\n" for row in rows))
    found, said = attempted(path, labels=("up", "down") if told else None)
    if found is None:
        assert str(path) in said
        return
    flawed = {flaw.row for flaw in found.flaws}
    assert len(found.learning_set) + sum(map(len, found.learning_set.change_points.values())) + sum(f.count for f in found.flaws) >= len(
        rows
    )
    assert all(2 <= row <= len(rows) + 1 for row in flawed)


@given(st.lists(NESTED, max_size=3))
def test_whatever_stands_in_json_is_read_or_refused_in_words(tmp_path_factory: Any, document: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "x.json"
    path.write_text(json.dumps(document))
    for form in (None, "label-studio"):
        found, said = attempted(path, symbol="X/Y", timeframe="1h", form=form)
        assert found is not None or str(path) in said


def test_forms_can_be_told_and_do_not_override_the_columns(write: Any) -> None:
    with pytest.raises(UsageError, match='did you mean "segments"'):
        read_learning_set(write(SEGMENTS), form="segment")
    with pytest.raises(DataError, match="say --form segments"):
        read_learning_set(write(SEGMENTS), form="bars")
    with pytest.raises(DataError, match="no JSON"):
        read_learning_set(write(SEGMENTS), form="label-studio")
    assert len(read_learning_set(write(SEGMENTS), form="segments")) == 4
    with pytest.raises(SourceError, match="name a file"):
        read_learning_set("absent.csv")


def test_a_column_that_is_not_read_is_told(write: Any) -> None:
    made = read_learning_set(write("symbol,timeframe,start,end,label,colour\nX/Y,1h,2024-01-01,2024-01-02,up,red\n"))
    assert "colour" in made.notes[0]


def test_segmentations_of_one_annotator_twice_and_unknown_labels_cannot_be_joined() -> None:
    one = Segmentation.of("X/Y", "1h", ("up",), [0], [HOUR], [0])
    with pytest.raises(DataError, match="labelled twice"):
        LearningSet.of([one, one])
    with pytest.raises(DataError, match="not in the vocabulary"):
        LearningSet.of([one], labels=("down",))
    with pytest.raises(DataError, match="nobody labelled"):
        LearningSet.of([one]).consensus("X/Y", "4h")
    assert LearningSet.of([one]).select(timeframes=["4h"]).markets == ()


# when labels are known


def test_the_purge_is_the_longest_wait_for_a_label() -> None:
    a = Segmentation.of("X/Y", "1h", ("u",), [0, 3 * HOUR], [3 * HOUR, 4 * HOUR], [0, 0], None, [4 * HOUR, 9 * HOUR])
    b = Segmentation.of("X/Y", "1d", ("u",), [0], [DAY], [0])
    assert hindsight_span_ms(a) == 5 * HOUR
    assert hindsight_span_ms(LearningSet.of([a, b])) == 5 * HOUR
    assert hindsight_span_ms(LearningSet.of([])) == 0
    candles = example_candles(bars=50, gaps=False)
    made = Segmentation.of_bars(candles, ("u",), np.where(np.arange(50) < 10, 0, -1))
    known = known_by(made.on(candles), int(candles.close_time[9]))
    assert known.sum() == 10
    assert known_by(made.on(candles), int(candles.close_time[9]) - 1).sum() == 0
