"""Readings: what is shown, when it was said, its segments, timeframes beside each other, and files that can be handed back."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight, refuse_hindsight
from candelabra.errors import DataError, UsageError
from candelabra.regimes.consistency import SmoothedConsistency, consistency
from candelabra.regimes.decoding import CAUSAL_KINDS, KINDS, LATE_KINDS, Decoder, DecoderSettings
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.learning_files import read_learning_set
from candelabra.regimes.reading import LaggedReading, RegimeReading, SmoothedReading, read_regimes
from candelabra.regimes.reading_files import bar_columns, pair_columns, segment_columns, write_columns
from candelabra.regimes.segment_table import segment_rows
from candelabra.regimes.smoothing import markov_smoother
from candelabra.testing import check_decisions, example_probabilities

HOUR = 3_600_000
LABELS = ("bullish", "bearish", "flat")
TRUTH = np.repeat(np.tile([0, 2, 1], 12), np.random.default_rng(4).integers(8, 40, 36)).astype(np.int16)
DURATIONS = fit_durations([TRUTH], 3)


def decoder(kind: str, **more: Any) -> Decoder:
    lag = {"lag": 5} if kind in LATE_KINDS else {}
    return Decoder(DecoderSettings(kind, **(lag | more)), LABELS, DURATIONS)  # type: ignore[arg-type]


def bars(n: int, timeframe: str = "1h", skip: slice | None = None) -> Candles:
    step = {"1h": HOUR, "4h": 4 * HOUR}[timeframe]
    kept = np.delete(np.arange(n), np.arange(n)[skip] if skip else [])
    one = np.ones(len(kept))
    return Candles.of("BTC/USDT", timeframe, kept * step, one, one, one, one, one)


def reading(kind: str = "duration", n: int = 300, seed: int = 0, **more: Any) -> tuple[RegimeReading, Decoder]:
    own = decoder(kind)
    return read_regimes(bars(n), own, example_probabilities(n, 3, seed), model="m", **more), own


def of_codes(code: list[int], timeframe: str = "1h", n: int | None = None, skip: slice | None = None) -> RegimeReading:
    candles = bars(n or len(code), timeframe, skip)
    p = np.where(np.arange(3)[None] == np.array(code)[:, None], 0.8, 0.1)
    columns = (candles.open_time, candles.close_time, np.array(code, np.int16), p)
    return RegimeReading("BTC/USDT", candles.timeframe, LABELS, *columns, "filtered", 0, "")


def test_the_decoder_decides_what_kind_of_reading_it_is() -> None:
    for kind in KINDS:
        made, _ = reading(kind)
        expected = RegimeReading if kind in CAUSAL_KINDS else LaggedReading if kind in LATE_KINDS else SmoothedReading
        assert type(made) is expected
        assert isinstance(made, Hindsight) == (expected is not RegimeReading)
        assert made.mode == ("smoothed" if expected is SmoothedReading else "filtered")
    assert isinstance(reading("raw", smoothed=True)[0], SmoothedReading)
    with pytest.raises(UsageError, match="LaggedReading, which knows the future"):
        refuse_hindsight("a rule", reading("fixed_lag")[0])


@pytest.mark.parametrize("kind", KINDS)
def test_segments_are_the_runs_of_the_labels(kind: str) -> None:
    made, own = reading(kind)
    table = segment_rows(made, own)
    codes = np.full(len(made), -1)
    for row in range(len(table)):
        inside = (made.open_time >= table.start[row]) & (made.open_time < table.end[row])
        codes[inside] = table.code[row]
        shown = made.probabilities[inside, table.code[row]]
        assert table.age[row] == inside.sum()
        if np.isfinite(shown).any():
            assert table.mean_probability[row] == pytest.approx(np.nanmean(shown))
            assert table.least_probability[row] == np.nanmin(shown)
        np.testing.assert_array_equal(table.next_probabilities[row], DURATIONS.follows[table.code[row]])
        assert table.next_probabilities[row, table.code[row]] == 0
    np.testing.assert_array_equal(codes, made.code)
    assert np.isnan(table.expected_remaining[:-1]).all()
    assert table.expected_remaining[-1] == own.expected_remaining(int(table.code[-1]), int(table.age[-1]))
    assert table.segmentation().names == table.names


def test_what_is_confirmed_and_what_may_yet_change() -> None:
    now, own = reading("duration")
    table = segment_rows(now, own)
    assert table.confirmed.all()
    assert not table.waiting.any()
    late, own = reading("fixed_lag")
    table = segment_rows(late, own)
    assert table.waiting.sum() == own.settings.lag
    first = np.searchsorted(late.open_time, table.start)
    np.testing.assert_array_equal(table.confirmed, first < len(late) - 5)
    assert late.said_at[0] == late.close_time[5]
    assert late.said_at[-1] == late.close_time[-1] + 5 * HOUR
    back, own = reading("semi_markov")
    table = segment_rows(back, own)
    assert table.confirmed.tolist() == [True] * (len(table) - 1) + [False]
    assert (back.said_at == back.close_time[-1]).all()


@pytest.mark.parametrize("kind", [*CAUSAL_KINDS, *LATE_KINDS])
def test_later_bars_change_no_confirmed_segment_but_let_the_open_one_grow(kind: str) -> None:
    own, p = decoder(kind), example_probabilities(240, 3, 5)
    whole = segment_rows(read_regimes(bars(240), own, p), own)
    for n in (60, 97, 150, 211):
        made = read_regimes(bars(n), own, p[:n])
        table = segment_rows(made, own)
        sure = np.flatnonzero(table.confirmed)
        assert len(sure)
        np.testing.assert_array_equal(table.start[sure], whole.start[: len(sure)])
        np.testing.assert_array_equal(table.code[sure], whole.code[: len(sure)])
        ended = sure[(sure < len(table) - 1) & (table.waiting[sure] == 0)]
        ended = ended[ended < sure[-1]]
        np.testing.assert_array_equal(table.end[ended], whole.end[ended])
        assert whole.end[sure[-1]] >= table.end[sure[-1]] - table.waiting[sure[-1]] * HOUR
        for settled in (made.code[: made.settled],):
            np.testing.assert_array_equal(settled, read_regimes(bars(240), own, p).code[: len(settled)])


def joined(arrays: Any, kind: str, lag: int = 0) -> dict[str, NDArray[Any]]:
    """Readings of 1h and 4h made of arrays, and what is held at each hour's close; the 4h arrays stand where such a bar closes."""
    n = len(arrays["p"])
    hourly = read_regimes(bars(n), decoder(kind, lag=lag), arrays["p"])
    coarse = read_regimes(bars(n // 4, "4h"), decoder(kind, lag=lag), arrays["q"][3::4][: n // 4])
    across = consistency([coarse, hourly])
    out = {"held": across.code[:, 0], "held 4h": across.code[:, 1], "conflict": across.conflict[:, 1]}
    if not lag:
        out |= {"age": hourly.age, "code": hourly.code} | {f"belief {k}": hourly.probabilities[:, k] for k in range(3)}
    return {name: np.asarray(column, np.float64) for name, column in out.items()}


@pytest.mark.parametrize(("kind", "lag"), [("hysteresis", 0), ("markov", 0), ("duration", 0), ("fixed_lag", 3)])
def test_what_is_held_across_timeframes_reads_nothing_that_closes_later(kind: str, lag: int) -> None:
    arrays = {"p": example_probabilities(200, 3, 1), "q": example_probabilities(200, 3, 2)}
    check_decisions(lambda a: joined(a, kind, lag), arrays, (np.arange(200) + 1) * HOUR, fresh=False)


def test_a_coarse_label_is_held_from_its_close_until_the_next_is_due() -> None:
    hourly = of_codes([0] * 16)
    coarse = of_codes([0, 1, 2], "4h")  # closes at 4, 8 and 12 hours
    across = consistency([coarse, hourly])
    assert across.code[:, 1].tolist() == [-1] * 3 + [0] * 4 + [1] * 4 + [2] * 4 + [-1]
    assert across.words[[0, 3, 7]].tolist() == ["1h bullish", "1h bullish inside 4h bullish", "1h bullish inside 4h bearish"]
    assert across.conflicts() == {("1h", "4h"): pytest.approx(4 / 12)}
    assert across.pairs[0].conflict
    assert (across.pairs[0].bars, across.pairs[0].finer_label, across.pairs[0].coarser_label) == (4, "bullish", "bearish")
    absent = of_codes([0, 2], "4h", n=3, skip=slice(1, 2))  # the second never came: nothing is known while it is due
    assert consistency([absent, hourly]).code[:, 1].tolist() == [-1] * 3 + [0] * 4 + [-1] * 4 + [2] * 4 + [-1]


def test_smoothed_readings_join_by_the_bar_that_holds_and_stay_hindsight() -> None:
    fine, coarse = of_codes([0] * 10), of_codes([1, 2], "4h")
    both = [
        SmoothedReading(**{**vars_of(one), "mode": "smoothed", "known_at": np.full(len(one), one.close_time[-1])}) for one in (fine, coarse)
    ]
    across = consistency(both)
    assert isinstance(across, SmoothedConsistency)
    assert across.code[:, 1].tolist() == [1] * 4 + [2] * 4 + [-1] * 2
    assert (across.known_at == 10 * HOUR).all()
    with pytest.raises(UsageError, match="filtered and smoothed"):
        consistency([fine, both[1]])
    with pytest.raises(UsageError, match="never share a file"):
        bar_columns([fine, both[1]])


def vars_of(one: RegimeReading) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}


def test_readings_that_do_not_fit_are_refused() -> None:
    one = of_codes([0, 1])
    with pytest.raises(UsageError, match="one symbol, one for each timeframe"):
        consistency([one, one])
    with pytest.raises(UsageError, match="no reading to compare"):
        consistency([])
    with pytest.raises(UsageError, match="is no RegimeReading"):
        replace(one, mode="smoothed")
    with pytest.raises(DataError, match=r"outside -1 \.\. 2"):
        replace(one, code=np.array([0, 3], np.int16))
    with pytest.raises(DataError, match="do not fit"):
        replace(one, probabilities=np.ones((2, 2)))
    with pytest.raises(DataError, match="give a row to each bar"):
        read_regimes(bars(3), decoder("raw"), np.ones((2, 3)))
    with pytest.raises(UsageError, match="cannot say how long"):
        segment_rows(one, Decoder(DecoderSettings("raw"), ("a", "b", "c"), DURATIONS))


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_few_bars_or_none_are_read_too(kind: str, n: int) -> None:
    made, own = read_regimes(bars(n), decoder(kind), np.full((n, 3), np.nan)), decoder(kind)
    assert len(segment_rows(made, own)) <= 1
    assert len(consistency([made]).words) == n


def test_a_smoother_is_what_summing_over_all_paths_gives() -> None:
    rng = np.random.default_rng(3)
    chain, start = rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(3))
    heard = rng.normal(0, 1, (6, 3))
    weight = np.zeros((6, 3))
    for path in product(range(3), repeat=6):
        mass = start[path[0]] * np.prod([chain[a, b] for a, b in pairwise(path)]) * np.exp(heard[np.arange(6), path].sum())
        weight[np.arange(6), path] += mass
    np.testing.assert_allclose(markov_smoother(heard, start, chain), weight / weight.sum(1, keepdims=True), rtol=1e-9)


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_segments_are_written_edited_and_handed_back(tmp_path: Path, ending: str) -> None:
    tables = [segment_rows(*reading("fixed_lag")), segment_rows(*reading("fixed_lag", seed=2))]
    tables[1] = replace(tables[1], symbol="ETH/USDT")
    file = write_columns(segment_columns(tables), tmp_path / f"segments.{ending}")
    back = read_learning_set(file)
    for table in tables:
        own = back.consensus(table.symbol, "1h")
        assert own.names == table.names
        np.testing.assert_array_equal(own.start, table.start)
        np.testing.assert_array_equal(own.end, table.end)
        np.testing.assert_array_equal(own.known_at, table.known_at)
    assert "next_bullish" in back.notes[0]
    if ending == "csv":
        head = file.read_text().splitlines()[0].split(",")
        assert head[:5] == ["symbol", "timeframe", "start", "end", "label"]
        file.write_text(file.read_text().replace(",flat,", ",sideways,"))
        assert "sideways" in read_learning_set(file).labels


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_bars_are_written_and_read_as_labels(tmp_path: Path, ending: str) -> None:
    made, own = reading("duration")
    columns = bar_columns([made], consistency([made]))
    back = read_learning_set(write_columns(columns, tmp_path / f"bars.{ending}"))
    assert back.consensus("BTC/USDT", "1h").names == segment_rows(made, own).names
    assert columns["across"][-1] == f"1h {made.names[-1]}"
    with pytest.raises(UsageError, match=r"call the file bars\.csv"):
        write_columns(columns, tmp_path / "bars.xlsx")
    written = write_columns(pair_columns(consistency([made])), tmp_path / "pairs.csv").read_text()
    assert written == "symbol,finer,coarser,finer_label,coarser_label,bars,share,conflict\n"
