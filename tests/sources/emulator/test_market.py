"""An emulated market: any stretch by itself, lawful, coarser bars from minutes, the forming bar on its way to the closed one."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from candelabra.candles.frame import Candles, same_candles
from candelabra.candles.resample import resample
from candelabra.errors import UsageError
from candelabra.sources.emulator.market import MINUTE_MS, EmulatedMarket

START = 1_600_000_020_000
MARKET = EmulatedMarket("BTC/USDT", seed=7, quiet=0.5, outages=0.5, revised=0.3)


def test_any_stretch_is_the_same_by_itself() -> None:
    whole = many_minutes()
    random = np.random.default_rng(0)
    for _ in range(25):
        begin = START + int(random.integers(0, 140_000)) * MINUTE_MS
        end = begin + int(random.integers(1, 3000)) * MINUTE_MS
        assert same_candles(MARKET.truth("1m", begin, end), whole.between(begin, end))


def test_candles_open_where_the_one_before_closed_and_move_like_prices() -> None:
    candles = many_minutes()
    beside = np.diff(candles.bar) == 1
    assert (candles.open[1:][beside] == candles.close[:-1][beside]).all()
    moves = np.diff(np.log(candles.close))[candles.volume[1:] > 0]
    assert 1e-4 < float(np.std(moves)) < 1e-2
    assert 5 < (~beside).sum() < 100  # outages
    flat = candles.volume == 0
    assert 100 < flat.sum() < 10_000
    assert (candles.high[flat] == candles.low[flat]).all()
    traded = MARKET.truth("1m", START, START + 150_000 * MINUTE_MS, quiet=False)
    assert same_candles(traded, candles.rows(~flat))


@cache
def many_minutes() -> Candles:
    return MARKET.truth("1m", START, START + 150_000 * MINUTE_MS)


@pytest.mark.parametrize("frame", ["5m", "1h", "1d", "1w", "1M"])
def test_coarser_candles_are_those_of_the_minutes(frame: str) -> None:
    minutes = many_minutes()
    made, expected = MARKET.truth(frame, START, minutes.span[1]), resample(minutes, frame)
    assert len(made) == len(expected) > 1
    assert made.open_time.tolist() == expected.open_time.tolist()
    for a, b in zip(made.values(), expected.values(), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize(("frame", "length"), [("1m", MINUTE_MS), ("1h", 60 * MINUTE_MS)])
def test_the_forming_candle_grows_into_the_closed_one(frame: str, length: int) -> None:
    open_ms = START // length * length
    calm = EmulatedMarket("BTC/USDT", seed=3)
    seen = [calm.bars(frame, open_ms, open_ms + 1, open_ms + part) for part in range(0, length, length // 12)]
    assert all(len(bar.open_time) == 1 for bar in seen)
    highs, lows, volumes = ([int(getattr(bar, name)[0]) for bar in seen] for name in ("high", "low", "volume"))
    assert highs == sorted(highs)
    assert lows == sorted(lows, reverse=True)
    assert volumes == sorted(volumes)
    assert volumes[0] < volumes[-1]
    now = open_ms + length * 7 // 12 + 1
    so_far = calm.bars("1m", open_ms, open_ms + length, now)
    forming = calm.bars(frame, open_ms, open_ms + 1, now)
    assert so_far.open_time[-1] <= now
    assert [int(c[0]) for c in forming[1:6]] == [
        so_far.open[0], so_far.high.max(), so_far.low.min(), so_far.close[-1], so_far.volume.sum()
    ]  # fmt: skip
    final = calm.bars(frame, open_ms, open_ms + 1)
    assert [c.tolist() for c in calm.bars(frame, open_ms, open_ms + 1, open_ms + length)] == [c.tolist() for c in final]
    assert len(calm.bars(frame, open_ms, open_ms + 1, open_ms - 1).open_time) == 0


def test_a_revised_candle_has_other_values_for_a_while() -> None:
    end = START + 1000 * MINUTE_MS
    last = MARKET.truth("1m", START, end)
    early = MARKET.truth("1m", START, end, now_ms=end)
    later = MARKET.truth("1m", START, end, now_ms=end + MARKET.revised_after_ms)
    assert same_candles(last, later)
    assert same_candles(early.rows(slice(0, -2)), last.rows(slice(0, -2)))
    changed = [
        not same_candles(MARKET.truth("1m", t - MINUTE_MS, t, now_ms=t), MARKET.truth("1m", t - MINUTE_MS, t))
        for t in range(START + MINUTE_MS, START + 100 * MINUTE_MS, MINUTE_MS)
    ]
    assert 10 < sum(changed) < 60


def test_nothing_before_the_listing_and_nothing_in_a_gap() -> None:
    market = EmulatedMarket("BTC/USDT", listed_ms=START, gaps=((START + 10 * MINUTE_MS, START + 30 * MINUTE_MS),))
    found = market.truth("1m", START - 100 * MINUTE_MS, START + 60 * MINUTE_MS)
    assert (found.open_time[0], len(found), found.run_starts.tolist()) == (START, 40, [0, 10])


def test_other_seed_or_symbol_other_market() -> None:
    one, *others = (EmulatedMarket(s, seed=n).truth("1m", START, START + 10 * MINUTE_MS) for s, n in (("A/B", 1), ("A/B", 2), ("C/B", 1)))
    assert all((one.close != other.close).all() for other in others)


def test_funding_is_due_every_eight_hours() -> None:
    times, rates = EmulatedMarket("BTC/USDT:USDT", seed=1).funding(START, START + 86_400_000 * 10)
    assert len(times) == 30
    assert (times % 28_800_000 == 0).all()
    assert len(set(rates.tolist())) > 20


@pytest.mark.parametrize("symbol", ["BTCUSDT", "BTC/", "BTC/USDT:BTC", "A/B/C"])
def test_a_symbol_that_is_none_is_refused(symbol: str) -> None:
    with pytest.raises(UsageError, match="cannot be emulated"):
        EmulatedMarket(symbol)
