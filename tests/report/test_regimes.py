"""The regimes on a page: lawful figures, every label coloured, words escaped, provisional hatched, nothing where there is nothing."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.candles.simulate import simulate
from candelabra.errors import DataError, UsageError
from candelabra.regimes.anomaly_alarms import Alarm
from candelabra.regimes.decoding import Decoder, DecoderSettings
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.reading import RegimeReading, read_regimes
from candelabra.regimes.segment_table import SegmentTable, segment_rows
from candelabra.report import page, regimes
from candelabra.report.inputs import ReportInputs
from candelabra.report.regime_figure import MOST_CANDLES, figure_spec
from candelabra.report.regime_page import regime_page
from candelabra.report.regime_view import colours, regime_views
from candelabra.testing import example_probabilities

from .test_page import EVIL, LOADING, Reader, dump, strings

LABELS = ("bullish", "bearish", "consolidation", "volatile")
Read = tuple[list[RegimeReading], list[Candles], list[SegmentTable]]


def read(bars: int = 900, kind: str = "duration", labels: tuple[str, ...] = LABELS, symbol: str = "SIM/USDT", **more: Any) -> Read:
    hours = simulate(symbol, "1h", bars=bars, seed=3).candles
    candles = [hours, resample(hours, "4h"), resample(hours, "1d")]
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.permuted(np.tile(np.arange(len(labels)), 20)), 12).astype(np.int16)
    decoder = Decoder(DecoderSettings(kind, **more), labels, fit_durations([truth], len(labels)))  # type: ignore[arg-type]
    readings = [read_regimes(c, decoder, example_probabilities(len(c), len(labels), k), model="m1") for k, c in enumerate(candles)]
    return readings, candles, [segment_rows(one, decoder) for one in readings]


def test_a_page_of_regimes_is_one_offline_file_with_lawful_figures() -> None:
    import plotly.graph_objects as go

    seen = Reader(regime_page(*read()))
    for tag, attrs in seen.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form", "img"}
        assert not any(name in LOADING and not (value or "").startswith("#") for name, value in attrs.items())
    assert len(seen.specs) == 2  # the newest bars, and all
    script = (Path(page.__file__).parent / "page.js").read_text()
    known = set(re.findall(r"(\w+): \"", script))
    for spec in seen.specs:
        assert {s[1:] for s in strings(spec) if s.startswith("@")} <= known
        text = re.sub(r"@\w+", "#123456", json.dumps(spec))
        assert len(go.Figure(json.loads(text)).data) == len(spec["data"])


def test_every_segment_is_drawn_once_in_its_band_with_its_colour() -> None:
    readings, candles, tables = read(300)
    (view,) = regime_views(readings, candles, tables)
    spec = figure_spec(view, colours(LABELS), newest=True)
    bands = [trace for trace in spec["data"] if trace["type"] == "bar" and trace["yaxis"] == "y3"]
    assert {t["name"]: t["marker"]["color"] for t in bands} == {name: f"@regime{k}" for k, name in enumerate(LABELS)}
    for place, table in enumerate(tables):
        drawn = sorted((b, b + x) for t in bands for b, x, y in zip(t["base"], t["x"], t["y"], strict=True) if y == -place)
        assert drawn == list(zip(table.start.tolist(), table.end.tolist(), strict=True))
    assert any(t["type"] == "candlestick" for t in spec["data"])
    whole = figure_spec(regime_views(*read(MOST_CANDLES + 1))[0], colours(LABELS), newest=False, probabilities=False)
    assert not any(t["type"] == "candlestick" or "stackgroup" in t for t in whole["data"])
    assert "yaxis4" not in whole["layout"]


def test_provisional_segments_are_hatched_and_each_mode_says_what_it_is() -> None:
    late = regime_page(*read(kind="fixed_lag", lag=10))
    assert '"shape":[' in late
    assert "Fixed lag:" in late
    assert "filtered, 10 bars late" in late
    assert "said for good by then" in late
    now = regime_page(*read())
    assert '"shape":[' not in now
    assert ("Filtered:" in now, "Smoothed:" in now) == (True, False)
    back = regime_page(*read(kind="semi_markov"))
    assert ("Filtered:" in back, "Smoothed:" in back) == (False, True)


def test_words_of_users_cannot_become_markup() -> None:
    labels = (EVIL, "<b>up</b>", "down", "flat")
    readings, candles, tables = read(labels=labels, symbol="SIM/USDT")
    evil = [dataclasses.replace(one, model=EVIL) for one in readings]
    seen = Reader(regime_page(evil, candles, tables))
    assert not [tag for tag, _ in seen.tags if tag == "img"]
    assert not any("onerror" in a for _, a in seen.tags)
    for text in (s for spec in seen.specs for s in strings(spec)):
        assert not re.search(r"<(?!/?b>|br>|extra>|/extra>)", text), text


def alarm(bars: Candles, row: int, why: str = "volume 14 times what is usual here, return -3.00%") -> Alarm:
    times = int(bars.open_time[row]), int(bars.close_time[row])
    return Alarm(bars.symbol, bars.timeframe.name, *times, 4.2, 2.6, "stretch_volume", f"2020-01-02 03:00: {why}")


def test_alarms_are_marked_at_their_bars_and_say_why() -> None:
    readings, candles, tables = read(MOST_CANDLES + 200)
    hours, four = candles[0], candles[1]
    shown = [alarm(hours, -3), alarm(hours, -40), alarm(four, -5)]
    elsewhere = dataclasses.replace(shown[0], symbol="OTHER/USDT")
    (view,) = regime_views(readings, candles, tables, [*shown, alarm(hours, 5), elsewhere])
    assert len(view.alarms) == 4
    spec = figure_spec(view, colours(LABELS), newest=True)
    over, band = [trace for trace in spec["data"] if trace["name"] == "out of the ordinary"]
    middle = [(one.open_ms + one.close_ms) // 2 for one in (shown[1], shown[0])]
    assert (over["x"], over["yaxis"], over["showlegend"], band["showlegend"]) == (middle, "y2", True, False)  # the fifth bar is not drawn
    assert all(y > h for y, h in zip(over["y"], hours.high[[-40, -3]], strict=True))
    assert (band["x"], band["y"], band["yaxis"]) == ([(shown[2].open_ms + shown[2].close_ms) // 2], [-1], "y3")
    assert over["customdata"][0][0] == "1h"
    assert "volume 14 times what is usual here<br>return -3.00%" in over["customdata"][0][1]
    whole = figure_spec(view, colours(LABELS), newest=False)
    assert sum(len(trace["x"]) for trace in whole["data"] if trace["name"] == "out of the ordinary") == 4
    page_ = regime_page(readings, candles, tables, [alarm(hours, -3, EVIL)])
    assert "Out of the ordinary" in page_
    assert "Triangles and diamonds" in page_
    seen = Reader(page_)
    assert not [tag for tag, _ in seen.tags if tag == "img"]
    assert not any("<img" in text for spec in seen.specs for text in strings(spec))
    assert "Triangles and diamonds" not in regime_page(readings, candles, tables)


def test_colours_stay_with_their_labels() -> None:
    assert colours(["bearish"]) == {"bearish": "@regime1"}
    many = colours([f"label {k}" for k in range(30)])
    assert set(many.values()) == {f"@regime{k}" for k in range(4, 10)}
    assert colours(["b", "a", "volatile"]) == colours(["volatile", "a", "b"])


def test_what_does_not_fit_is_refused() -> None:
    readings, candles, tables = read(100)
    with pytest.raises(UsageError, match="no reading to draw"):
        regime_page([], candles, tables)
    with pytest.raises(UsageError, match="no 1h candles of SIM/USDT"):
        regime_page(readings, candles[1:], tables)
    with pytest.raises(UsageError, match="no segments table of SIM/USDT 1d"):
        regime_page(readings, candles, tables[:2])
    with pytest.raises(DataError, match="of other bars"):
        regime_page(readings, [candles[0].rows(slice(0, 50))], tables)


@pytest.mark.parametrize("bars", [0, 1, 30])
def test_few_bars_or_none_still_make_a_page(bars: int) -> None:
    readings, candles, tables = read(60)
    few = [one.rows(slice(0, bars if k == 0 else 0)) for k, one in enumerate(readings)]
    assert "SIM/USDT" in regime_page(few, [c.rows(slice(0, bars)) for c in candles], [_empty(t) for t in tables])


def _empty(table: SegmentTable) -> SegmentTable:
    gone = {f.name: getattr(table, f.name)[:0] for f in dataclasses.fields(table) if isinstance(getattr(table, f.name), np.ndarray)}
    return dataclasses.replace(table, **gone)


def test_the_report_has_the_section_where_there_are_regimes(full_inputs: ReportInputs) -> None:
    assert "regimes" not in page.section_keys(full_inputs)
    views = regime_views(*read(200))
    assert "regimes" in page.section_keys(dataclasses.replace(full_inputs, regimes=views))
    assert regimes.drawn(()) is None


def test_a_simulated_market_is_announced() -> None:
    assert 'class="banner"' in regime_page(*read(100))


@pytest.mark.slow
def test_a_browser_draws_the_regimes_offline(tmp_path: Path) -> None:
    (tmp_path / "regimes.html").write_text(regime_page(*read(kind="fixed_lag", lag=5)), "utf-8")
    seen, log = dump(tmp_path / "regimes.html", "light", tmp_path / "profile")
    assert ("html", "yes") in [(tag, a.get("data-drawn")) for tag, a in seen.tags]
    assert [a["id"] for tag, a in seen.tags if tag == "div" and "js-plotly-plot" in (a.get("class") or "")] == ["regimes-0"]
    assert not re.search(r"Refused|Content Security Policy|Uncaught", log)
