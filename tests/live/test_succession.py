"""Champion and challenger: a tie keeps the champion, nobody is judged on what it has seen, a winner takes over in the journal."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.errors import DataError
from candelabra.live import succession
from candelabra.live.feed import spanning
from candelabra.live.follow import Follower
from candelabra.live.journal import reading_journal, writing_journal
from candelabra.live.loop import Live, LiveSettings
from candelabra.live.seat import Opened
from candelabra.live.succession import Schedule, contest, decide, succeed
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.store import Store
from candelabra.testing.exchanges import MemorySource, keep, plain_fill

HOUR = 3_600_000


@pytest.mark.parametrize(
    ("quantile", "volatility", "wins"),
    [
        ((0.05, 0.01, 0.09), (0.00, -0.02, 0.02), True),
        ((0.00, -0.02, 0.02), (0.05, 0.01, 0.09), True),
        ((0.05, -0.01, 0.11), (0.02, -0.01, 0.05), False),
        ((0.00, 0.00, 0.00), (0.00, 0.00, 0.00), False),
        ((0.05, 0.01, 0.09), (-0.05, -0.09, -0.01), False),
        ((float("nan"),) * 3, (float("nan"),) * 3, False),
    ],
)
def test_only_a_clearly_better_one_takes_over(
    quantile: tuple[float, float, float], volatility: tuple[float, float, float], wins: bool
) -> None:
    assert decide(quantile, volatility)[0] is wins


@pytest.fixture
def later(opened: Opened) -> Opened:
    """The same bundle, said to have seen nothing of what it is judged on."""
    return replace(opened, predictor=replace(opened.predictor, manifest=replace(opened.predictor.manifest, ranges={"train": (0, 1)})))


def test_a_tie_keeps_the_champion(later: Opened, market: Candles) -> None:
    start = int(market.span[0]) + 1270 * HOUR
    found = contest(later, later, [market], start)
    assert found.rows > 100
    assert found.crps[:1] == (0.0,)
    assert not found.wins
    assert "the champion goes on" in found.why


def test_the_better_of_two_is_found(later: Opened, market: Candles, monkeypatch: pytest.MonkeyPatch) -> None:
    start = int(market.span[0]) + 1270 * HOUR
    worse = replace(later, path=Path("worse"), predictor=replace(later.predictor, manifest=replace(later.predictor.manifest, id="worse")))

    class Spoiled(Follower):
        def advance(self, candles: Candles) -> Any:
            for step in super().advance(candles):
                told = step.prediction
                if told is not None and told.bundle == "worse":
                    wide = tuple(tuple((np.array(q) * 3).tolist()) for q in told.quantiles)
                    yield replace(
                        step, prediction=replace(told, quantiles=wide, log_volatility=tuple(v + 1.0 for v in told.log_volatility))
                    )
                else:
                    yield step

    monkeypatch.setattr(succession, "Follower", Spoiled)
    assert contest(worse, later, [market], start).wins
    lost = contest(later, worse, [market], start)
    assert not lost.wins
    assert "clearly worse" in lost.why


def test_nobody_is_judged_on_what_it_has_seen(opened: Opened, later: Opened, market: Candles) -> None:
    seen = max(b for _, b in opened.predictor.manifest.ranges.values())
    with pytest.raises(DataError, match="has seen candles up to"):
        contest(later, opened, [market], seen - 10 * HOUR)
    with pytest.raises(DataError, match="are needed: let more time pass"):
        contest(later, later, [spanning(market, market.span[0], market.span[0] + 800 * HOUR)], int(market.span[0]) + 760 * HOUR)


def test_a_winner_takes_over_in_the_journal_and_a_failure_is_told(
    later: Opened, market: Candles, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(store, market)
    clock = FastClock(market.span[1], 3_600_000.0)
    source = MemorySource(market, clock)
    asked: list[int] = []

    async def trained(champion: Path, store: Store, exchange: str, symbols: Any, cut: int, folder: Path, schedule: Schedule) -> Path:
        asked.append(cut)
        if len(asked) == 1:
            raise DataError("training a challenger failed: too few candles")
        return later.path

    monkeypatch.setattr(succession, "train_challenger", trained)
    monkeypatch.setattr(succession, "open_bundle", lambda path: replace(later, notes=("challenger",)))
    monkeypatch.setattr(succession, "decide", lambda a, b: (True, "clearly less quantile loss"))
    with writing_journal(tmp_path / "journal") as journal:
        journal.use_bundle(later.id, later.path, 0, "given")
        live = Live(later, source, store, journal, clock, plain_fill, LiveSettings((market.symbol,)))  # type: ignore[arg-type]
        journal.skip(market.symbol, market.span[1])
        schedule = Schedule(HOUR, 130 * HOUR, tmp_path)

        async def twice() -> None:
            task = asyncio.create_task(succeed(live, schedule))
            while live.opened is later:
                await asyncio.sleep(0.01)
            task.cancel()

        asyncio.run(asyncio.wait_for(twice(), 30))
        assert live.opened.notes == ("challenger",)
    assert asked[0] == market.span[1] - 130 * HOUR
    with reading_journal(tmp_path / "journal") as journal:
        assert [row["why"].partition(":")[0] for row in journal.rows("bundles")] == ["given", f"clearly better than {later.id}"]
        told = [json.loads(row["body"]) for row in journal.rows("events")]
        assert any("no challenger this time" in body.get("text", "") for body in told)
        assert any(body.get("contest", {}).get("wins") for body in told)
        assert journal.fact("challenged_ms") is not None


@pytest.mark.slow
def test_a_challenger_that_cannot_be_trained_says_why(later: Opened, market: Candles, store: Store, tmp_path: Path) -> None:
    keep(store, spanning(market, market.span[0], market.span[0] + 50 * HOUR))
    made = succession.train_challenger(later.path, store, "memory", [market.symbol], market.span[1], tmp_path / "run", Schedule(HOUR))
    with pytest.raises(DataError, match="training a challenger on candles up to"):
        asyncio.run(made)
