"""One pace for everybody: the allowed rate, windows in which nothing is asked, patience, and clocks that lie."""

from __future__ import annotations

import asyncio

import pytest

from candelabra.errors import SourceError, UsageError
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.pace import GaveUp, Pace, Patience, persist
from candelabra.sources.exchanges.skew import ExchangeTime, date_ms


class Hand:
    """A clock moved by hand; whoever sleeps moves it."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.s += seconds
        await asyncio.sleep(0)


def pace_by(hand: Hand, **settings: float) -> Pace:
    return Pace("x", 0.1, monotonic=hand.monotonic, sleep=hand.sleep, **settings)  # type: ignore[arg-type]


def test_requests_keep_their_distance_and_weigh_what_they_weigh() -> None:
    hand = Hand()
    pace = pace_by(hand)

    async def go() -> list[float]:
        times = []
        for weight in (1, 1, 5, 1):
            await pace.turn(weight)
            times.append(hand.s)
        return times

    times = asyncio.run(go())
    assert pace.requests == 4
    assert times[-1] - times[0] == pytest.approx(0.7 - 0.3)  # a burst of three spacings was due after the pause before


def test_nothing_is_asked_inside_a_window_by_anybody() -> None:
    hand = Hand()
    pace = pace_by(hand)
    pace.too_fast(5.0)
    closed_until = hand.s + 5.0

    async def go() -> list[float]:
        async def one() -> float:
            await pace.turn()
            return hand.s

        return list(await asyncio.gather(*(one() for _ in range(5))))

    assert min(asyncio.run(go())) >= closed_until


def test_without_a_number_complaints_lengthen_the_wait_and_an_answer_ends_that() -> None:
    hand = Hand()
    pace = pace_by(hand)
    waits = []
    for _ in range(4):
        before = hand.s
        pace.too_fast(None)
        pace.too_fast(None)  # two that were on their way together: one complaint
        asyncio.run(pace.turn())
        waits.append(hand.s - before)
    assert [round(w / 1.025) for w in waits] == [1, 2, 4, 8]
    pace.answered()
    before = hand.s
    pace.too_fast(None)
    asyncio.run(pace.turn())
    assert hand.s - before < 1.5


def test_a_long_ban_is_an_error_and_no_wait() -> None:
    hand = Hand()
    told: list[str] = []
    pace = pace_by(hand, longest_wait_s=60.0)
    pace.tell = told.append
    pace.too_fast(7200.0, banned=True)
    with pytest.raises(GaveUp, match=r"has banned this address .* until 20\d\d-.* UTC: fetch again after that"):
        asyncio.run(pace.turn())
    assert told
    assert hand.slept == []


def test_a_refusal_ends_all_asking() -> None:
    pace = pace_by(Hand())
    pace.refused(SourceError("x refuses this address"))
    with pytest.raises(SourceError, match="refuses this address"):
        asyncio.run(pace.turn())
    assert pace.requests == 0


def test_patience_asks_again_only_where_that_can_help_and_not_for_ever() -> None:
    asked: list[int] = []

    async def failing() -> None:
        asked.append(1)
        raise SourceError("the line broke", retryable=True)

    with pytest.raises(GaveUp, match="asked 3 times without a usable answer; the last reason: the line broke"):
        asyncio.run(persist(failing, Patience(3, 0.0, 0.0)))
    assert len(asked) == 3

    async def refused() -> None:
        asked.append(1)
        raise UsageError("no such symbol")

    with pytest.raises(UsageError):
        asyncio.run(persist(refused, Patience(3, 0.0, 0.0)))
    assert len(asked) == 4


def test_waits_double_up_to_the_longest() -> None:
    patience = Patience(first_s=0.5, most_s=60.0)
    assert [patience.wait_s(k, 1.0) for k in (1, 2, 3, 8, 20, 10_000)] == [0.5, 1.0, 2.0, 60.0, 60.0, 60.0]


class Wrong:
    """A machine's clock that is off and may be set."""

    rate = 1.0

    def __init__(self) -> None:
        self.ms = 0

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None: ...


def test_the_exchanges_time_goes_on_whatever_the_machines_clock_does() -> None:
    hand, clock = Hand(), Wrong()
    time = ExchangeTime(clock, monotonic=hand.monotonic)
    assert time.stale
    time.heard(1_700_000_000_000)
    clock.ms = 1_700_000_000_000 - 3_600_000
    hand.s += 10.0
    assert time.now_ms() == 1_700_000_010_000
    clock.ms += 10_000
    assert time.skew_ms == 3_600_000
    clock.ms += 7_200_000  # somebody sets it
    assert time.now_ms() == 1_700_000_010_000
    assert time.skew_ms == -3_600_000
    assert not time.stale
    hand.s += 601.0
    assert time.stale


def test_a_date_that_does_not_fit_has_the_exchange_asked_again() -> None:
    hand, clock = Hand(), Wrong()
    time = ExchangeTime(clock, monotonic=hand.monotonic)
    time.heard(1_700_000_000_500, 1_700_000_000_000)
    hand.s += 60.0
    time.dated(1_700_000_060_000)
    assert not time.stale
    time.dated(1_700_003_660_000)  # this machine slept for an hour, its counter too
    assert time.stale
    time.heard(1_700_003_661_000, 1_700_003_661_000)
    assert time.now_ms() == 1_700_003_661_000


def test_a_fast_clock_is_followed_at_its_rate() -> None:
    hand = Hand()
    time = ExchangeTime(FastClock(0, rate=60.0), monotonic=hand.monotonic)
    time.heard(1_700_000_000_000)
    hand.s += 1.0
    assert time.now_ms() == 1_700_000_060_000


@pytest.mark.parametrize("text", [None, "", "soon", "Tue, 99 Nov 2023 22:13:20 GMT"])
def test_dates_that_are_none(text: str | None) -> None:
    assert date_ms(text) is None
