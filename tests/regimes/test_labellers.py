"""Labellers: their known_at is true, their arithmetic is that of the plain form, and they refuse what cannot be."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from candelabra.candles import Candles, resample, simulate
from candelabra.errors import DataError, MissingExtraError, UsageError
from candelabra.regimes.bry_boschan import phases
from candelabra.regimes.labeller import LABELLERS, Labeller, Reach, describe, new_labeller, segmented
from candelabra.regimes.segmentation import Segmentation
from candelabra.regimes.short_runs import NEVER, without_short_runs
from candelabra.regimes.trend_scan import trend_scan
from candelabra.regimes.turning_points import legs
from candelabra.testing import LawBroken, check_labeller, example_candles

HOUR = 3_600_000
CAUSAL = ("trend_scan", "triple_barrier", "zigzag", "lunde_timmermann", "bry_boschan", "centred_window")
WHOLE = ("pelt", "kernel_change_points", "hidden_markov")
SMALL: dict[str, list[dict[str, Any]]] = {
    "trend_scan": [{"longest": 12, "least_t": 3, "least_run": 4}, {"longest": 7, "least_run": 1}],
    "triple_barrier": [{"patience": 6, "span": 20, "least_run": 4}, {"patience": 10, "up": 0.5, "least_run": 1}],
    "zigzag": [{"threshold": 1, "span": 20, "unit_bars": 6}, {"unit": "atr", "span": 10}, {"unit": "log", "threshold": 0.02}],
    "lunde_timmermann": [{"rise": 0.02, "fall": 0.015}],
    "bry_boschan": [{"window": 4, "least_phase": 3, "least_cycle": 10, "escape": 0.05}, {"window": 2, "least_phase": 1, "least_cycle": 1}],
    "centred_window": [{"window": 12, "reference": 60}, {"window": 8, "reference": 40, "least_run": 7, "volatile": 1.1}],
}  # fmt: skip


def market(seed: int, bars: int = 260) -> Candles:
    return example_candles(bars=bars, seed=seed)


def changed_after(candles: Candles, row: int, seed: int, keep_rows: bool) -> Candles:
    """Other candles after a row: cut there, or other prices and fewer bars."""
    if not keep_rows:
        return candles.rows(slice(0, row + 1))
    rng = np.random.default_rng(seed)
    left = np.concatenate([np.ones(row + 1, bool), rng.random(len(candles) - row - 1) > 0.1])
    factor = np.exp(np.where(np.arange(len(candles)) > row, np.cumsum(rng.normal(0, 0.02, len(candles))), 0.0))
    prices = [column * factor for column in candles.values()[:4]]
    made = Candles.of(candles.symbol, candles.timeframe, candles.open_time, *prices, candles.volume)
    return made.rows(left)


@pytest.mark.parametrize("name", CAUSAL)
@given(seed=st.integers(0, 500), row=st.integers(5, 255), keep_rows=st.booleans(), which=st.integers(0, 2))
@example(seed=263, row=39, keep_rows=False, which=0)  # a label known by then, of which a centred window said that it needs more bars
@settings(max_examples=40)
def test_no_candle_after_known_at_changes_the_label_of_a_bar(name: str, seed: int, row: int, keep_rows: bool, which: int) -> None:
    labeller = new_labeller(name, SMALL[name][which % len(SMALL[name])])
    candles = market(seed)
    row = min(row, len(candles) - 2)
    time = int(candles.close_time[row])
    before = labeller.label(candles).on(candles)
    try:
        later = changed_after(candles, row, seed, keep_rows)
        after = labeller.label(later).on(later)
    except DataError:
        assert (before.known_at > time).all()
        return
    place = np.searchsorted(later.open_time, candles.open_time)
    known = before.known_at <= time
    assert (after.code[place[known]] == before.code[known]).all()
    known = after.known_at <= time
    back = np.searchsorted(candles.open_time, later.open_time)
    assert (before.code[back[known]] == after.code[known]).all()


@pytest.mark.parametrize("name", CAUSAL)
def test_a_labeller_keeps_its_promises(name: str) -> None:
    check_labeller(name)
    for values in SMALL[name]:
        check_labeller(new_labeller(name, values))


@pytest.mark.parametrize("name", WHOLE)
def test_a_labeller_of_the_whole_series_is_known_at_its_end(name: str) -> None:
    pytest.importorskip("hmmlearn" if name == "hidden_markov" else "ruptures")
    candles = market(3, 700)
    made = check_labeller(name, candles=candles)
    assert (made.known_at == candles.close_time[-1]).all()
    assert new_labeller(name).reach == Reach(None, whole=True)
    assert int(made.bars.sum()) >= 600


@pytest.mark.parametrize("name", CAUSAL)
def test_labels_are_sensible_at_every_timeframe(name: str) -> None:
    hours = simulate("SIM/USDT", "1h", bars=24 * 500, seed=4).candles
    for candles in (hours, resample(hours, "4h"), resample(hours, "1d")):
        made = new_labeller(name).label(candles)
        labels = made.on(candles)
        returns = np.diff(np.log(candles.close), prepend=np.nan)
        rising = returns[labels.code == made.labels.index("bullish")].mean()
        assert rising > returns[labels.code == made.labels.index("bearish")].mean()
        assert (labels.code >= 0).mean() > 0.5


# each labeller against a plain form


def by_loops(values: np.ndarray[Any, Any], shortest: int, longest: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The published form: an ordinary least-squares fit for each row and each length."""
    best, length = np.full(len(values), np.nan), np.zeros(len(values), int)
    for t in range(len(values) - longest + 1):
        largest = -1.0
        for count in range(shortest, longest + 1):
            x = np.column_stack([np.ones(count), np.arange(count)])
            inverse = np.linalg.inv(x.T @ x)
            beta = inverse @ x.T @ values[t : t + count]
            rest = values[t : t + count] - x @ beta
            t_value = beta[1] / np.sqrt(rest @ rest / (count - 2) * inverse[1, 1])
            if abs(t_value) > largest:
                largest, best[t], length[t] = abs(t_value), t_value, count
    return best, length


@given(seed=st.integers(0, 1000), level=st.floats(-20, 20), longest=st.integers(5, 30))
@settings(max_examples=15)
def test_trend_scanning_gives_the_t_values_of_a_fit_per_row_and_length(seed: int, level: float, longest: int) -> None:
    rng = np.random.default_rng(seed)
    values = level + np.cumsum(rng.standard_t(4, 120) * 0.01)
    t_value, length = trend_scan(values, 5, longest)
    expected, lengths = by_loops(values, 5, longest)
    assert np.allclose(t_value, expected, rtol=1e-6, equal_nan=True)
    assert (length == lengths).all()


def test_exact_lines_and_still_prices_have_a_t_value() -> None:
    t_value, length = trend_scan(np.arange(10.0), 3, 5)
    assert (t_value[:6] == np.inf).all()
    assert (length[:6] == 3).all()
    assert (trend_scan(-np.arange(10.0), 3, 5)[0][:6] == -np.inf).all()
    assert (trend_scan(np.full(10, 5.0), 3, 5)[0][:6] == 0).all()
    with pytest.raises(UsageError, match="3 or more"):
        trend_scan([1.0, 2.0], 2, 5)


def plain_legs(price: np.ndarray[Any, Any], theta: float) -> list[int]:
    """Zigzag as it is told: walk to the extreme, mark the leg when prices have come back by theta."""
    turns, way, extreme = [], 0, 0
    for t in range(1, len(price)):
        if (way >= 0 and price[t] > price[extreme]) or (way <= 0 and price[t] < price[extreme]):
            if way == 0:
                extreme = t if abs(price[t] - price[0]) >= theta else extreme
                way = int(np.sign(price[t] - price[0])) if extreme else 0
                turns += [0] if way else []
            else:
                extreme = t
        elif way and abs(price[t] - price[extreme]) >= theta:
            turns.append(extreme)
            way, extreme = -way, t
    return [*turns, extreme]


def test_zigzag_turns_where_prices_come_back_far_enough() -> None:
    rng = np.random.default_rng(3)
    price = np.concatenate([np.linspace(0, 1, 5), 1 + np.cumsum(rng.normal(0, 0.3, 400))])
    code, known = legs(price, np.full(405, 1.0), np.full(405, 1.0), np.arange(405))
    turns = plain_legs(price, 1.0)
    edges = [row for row in range(1, len(code)) if code[row] != code[row - 1]]
    assert edges == [turn + 1 for turn in turns if turn + 1 < 405]
    seen = known < NEVER
    assert (known[seen] >= np.flatnonzero(seen)).all()


def test_bry_boschan_takes_the_extremes_of_a_window_and_keeps_least_phases() -> None:
    price = np.array([0, 1, 2, 3, 2, 1, 0, -1, 0, 1, 2, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5, 6.0])
    code, known = phases(price, np.arange(22), 2, 2, 4, 9.0)
    assert code.tolist() == [-1] * 4 + [1] * 4 + [0] * 4 + [-1] * 10
    assert known[4:8].tolist() == [13] * 4
    assert known[8:12].tolist() == [17] * 4
    assert (phases(price, np.arange(22), 2, 6, 4, 9.0)[0] == -1).all()
    assert (phases(price, np.arange(22), 2, 6, 4, 2.0)[0] >= 0).any()


def test_lunde_timmermann_switches_at_shares_of_the_price() -> None:
    close = np.array([100, 110, 121, 115, 102, 90, 95, 107.9, 108.1, 120])
    candles = Candles.of("X/Y", "1d", np.arange(10) * 24 * HOUR, close, close, close, close, np.ones(10))
    made = new_labeller("lunde_timmermann", {"rise": 0.2, "fall": 0.15}).label(candles)
    assert made.names == ("bullish", "bearish", "bullish")
    assert ((made.end - 1) // (24 * HOUR)).tolist() == [2, 5, 9]
    assert (made.known_at[1:] // (24 * HOUR)).tolist() == [6, 10]


def test_the_centred_window_sees_trend_and_volatility() -> None:
    rng = np.random.default_rng(1)
    drift = np.repeat([0.0, 0.006, 0.0, -0.006, 0.0], 300)
    size = np.repeat([0.01, 0.01, 0.05, 0.01, 0.01], 300)
    close = 100 * np.exp(np.cumsum(drift + size * rng.normal(0, 1, 1500)))
    candles = Candles.of("X/Y", "1h", np.arange(1500) * HOUR, close, close, close, close, np.ones(1500))
    labels = new_labeller("centred_window", {"window": 60, "reference": 1000}).label(candles).on(candles)
    for part, wanted in ((slice(340, 560), 0), (slice(640, 860), 3), (slice(940, 1160), 1)):
        assert (labels.code[part] == wanted).mean() > 0.7


# short runs


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=60), st.integers(1, 6), st.integers(0, 6))
def test_no_run_is_short_and_every_label_was_there_long_before(code: list[int], least: int, ahead: int) -> None:
    codes = np.array(code, np.int16)
    known = np.arange(len(code), dtype=np.int64) + ahead
    out, when = without_short_runs(codes, known, least)
    assert ((out < 0) == (when == NEVER)).all()
    assert (out[codes < 0] == -1).all()
    for cut in range(len(code)):
        cut_out, cut_when = without_short_runs(codes[:cut], known[:cut], least)
        settled = when[:cut] <= cut - 1 + ahead
        assert (cut_out[settled] == out[:cut][settled]).all()
        assert (out[:cut][cut_when < NEVER] == cut_out[cut_when < NEVER]).all()


# the registry


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("trend_scam", {}, 'did you mean "trend_scan"'),
        ("trend_scan", {"longst": 3}, 'did you mean "longest"'),
        ("trend_scan", {"longest": "ten"}, "a whole number"),
        ("trend_scan", {"longest": 2.5}, "a whole number"),
        ("trend_scan", {"longest": 3}, "longest = 3: give 5 or more"),
        ("trend_scan", {"least_t": float("nan")}, "a number"),
        ("zigzag", {"unit": "atrs"}, 'did you mean "atr"'),
        ("zigzag", {"threshold": 0}, "above 0"),
        ("lunde_timmermann", {"fall": 1.5}, "below 1"),
        ("triple_barrier", {"up": -1}, "above 0"),
        ("centred_window", {"trend": 0}, "above 0"),
        ("centred_window", {"window": 3}, "4 or more"),
        ("bry_boschan", {"window": 0}, "1 or more"),
    ],
)
def test_a_labeller_that_cannot_be_is_refused(name: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        new_labeller(name, values)


def test_labellers_are_described_with_how_far_they_read() -> None:
    told = {one["name"]: one for one in describe()}
    assert set(told) >= {*CAUSAL, *WHOLE}
    assert told["trend_scan"]["reads"] == "at most 64 bars"
    assert told["zigzag"]["reads"] == "until the market decides"
    assert "threshold=2.0" in told["zigzag"]["settings"]


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def refuse(name: str, *rest: Any, **more: Any) -> Any:
        if name.split(".")[0] in ("ruptures", "hmmlearn"):
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", refuse)


@pytest.mark.usefixtures("without_extras")
def test_a_missing_extra_is_named_with_its_install() -> None:
    for name in WHOLE:
        with pytest.raises(MissingExtraError, match=r"pip install 'candelabra\[labellers\]'"):
            new_labeller(name)
    assert {one["reads"] for one in describe() if one["name"] in WHOLE} == {"needs the extra labellers"}


# what check_labeller finds


@dataclass(frozen=True)
class Drawn:
    """A labeller whose lie is a setting."""

    lie: str = ""
    labels: ClassVar[tuple[str, ...]] = ("bullish", "bearish")
    name: ClassVar[str] = "drawn"

    @property
    def reach(self) -> Reach:
        return Reach(2 if self.lie != "reach" else 1)

    def label(self, candles: Candles) -> Segmentation:
        if len(candles) < 4 and self.lie != "crash":
            raise DataError("too few")
        close = candles.close
        ahead = 2 + (self.lie == "ahead")
        code = np.where(np.append(close[ahead:], np.full(ahead, close[-1])) > close, 0, 1).astype(np.int16)
        known = np.full(len(close), NEVER)
        known[:-ahead] = candles.close_time[2:][: len(close) - ahead]
        if self.lie == "early":
            known[:-ahead] = candles.open_time[: len(close) - ahead]
        return segmented("drawn" if self.lie != "name" else "else", candles, self.labels, code, known, 1)


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("ahead", "reads 1 bar"),
        ("reach", "known 2 bars after its last"),
        ("early", "before its last bar has closed"),
        ("name", "as annotator"),
        ("crash", "refuse them with a DataError"),
    ],
)
def test_a_labeller_that_lies_is_found(lie: str, words: str) -> None:
    check_labeller(Drawn())
    with pytest.raises(LawBroken, match=words):
        check_labeller(Drawn(lie))


def test_the_registry_holds_labellers() -> None:
    assert all(isinstance(new_labeller(name), Labeller) for name in CAUSAL)
    assert LABELLERS.kind == "labeller"
