"""`Seat`: one symbol in the live loop: its follower, its judge, its paper account; what one base bar brings is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.live.drift import Drift, read_edges
from candelabra.live.follow import Follower, Step
from candelabra.live.journal import Journal
from candelabra.live.judge import Judge
from candelabra.live.paper import Paper, PaperBar
from candelabra.live.promise import Promise, read_promise
from candelabra.live.rivals import Rival, keep_for, open_rivals
from candelabra.trading.account import Account
from candelabra.trading.rules import Rule
from candelabra.trading.sealed import RULE_FILE, read_rule

__all__ = ["Opened", "Seat", "Taken", "open_bundle"]


@dataclass(frozen=True, eq=False)
class Opened:
    """A bundle with all that live needs of it; ``notes``: what it lacks, in words."""

    path: Path
    predictor: Predictor
    rivals: tuple[Rival, ...]
    promise: Promise
    rule: tuple[Rule, Account] | None
    edges: Mapping[str, Any] | None
    notes: tuple[str, ...]

    @property
    def id(self) -> str:
        """The bundle's id."""
        return self.predictor.manifest.id

    @property
    def keep(self) -> dict[str, int]:
        """Bars that followers hold for judging."""
        return keep_for(self.predictor.recipe, self.rivals)


def open_bundle(path: Path) -> Opened:
    """A sealed bundle, its baselines, rule and promises."""
    predictor = Predictor.open(path)
    rivals, notes = open_rivals(path, predictor.manifest)
    rule = None
    if (path / RULE_FILE).is_file():
        choice, account = read_rule(path)
        rule = choice.rule, account
    promise, edges = read_promise(path, predictor.manifest.model), read_edges(path)
    lacking = [
        *notes,
        *(() if rivals else ("it was sealed without baselines: forecasts are judged by themselves",)),
        *(() if rule else ("it was sealed without a rule: nothing is traded on paper",)),
        *(() if edges else ("it was sealed without the distribution of its inputs: their drift is not watched",)),
    ]
    return Opened(path, predictor, rivals, promise, rule, edges, tuple(lacking))


@dataclass(frozen=True, eq=False)
class Taken:
    """What one base bar brought: the step, the forecasts that met their future ``(as_of_ms, horizon, losses)``, the paper account."""

    step: Step
    judged: Sequence[tuple[int, str, dict[str, Any]]]
    paper: PaperBar | None


class Seat:
    """One symbol, from where its journal stands; made anew after anything went wrong, since the journal is what counts."""

    def __init__(self, journal: Journal, opened: Opened, history: Candles, made_ms: int, *, paper: bool = True) -> None:
        """``history``: candles whose span ends at the journal's position, if it has one. Raises DataError when they are too few."""
        self._journal, self.opened = journal, opened
        recipe = opened.predictor.recipe
        self.follower = Follower(opened.predictor, history, opened.keep)
        scale = opened.predictor.calibration.variance_scale
        symbol = self.symbol = history.symbol
        self.judge = Judge(journal, symbol, recipe, opened.rivals, scale, opened.id, since_ms=int(self.follower.series.close_time[0]))
        self.paper: Paper | None = None
        if paper and opened.rule is not None:
            self.paper = Paper(symbol, recipe.base, *opened.rule)
            if (saved := journal.standing(symbol, "paper")) is not None:
                self.paper.resume(saved)
        self.drift = None if opened.edges is None else Drift(opened.edges, recipe.base.name, self.follower.series)
        journal.begin(self.follower, history, made_ms)

    def take(self, step: Step, made_ms: int) -> Taken:
        """Write what a step brought, all or nothing; whoever gets an error must make another seat."""
        series, judged, bar = self.follower.series, [], None
        with self._journal.transaction():
            self._journal.record(step, made_ms)
            if step.prediction is not None:
                self.judge.add(step.as_of_ms, step.prediction.to_dict())
            judged = self.judge.meet(series, step.as_of_ms)
            if len(step.candles):
                if self.paper is not None:
                    bar = self.paper.step(series.base_candles.rows(slice(-1, None)), step.prediction)
                    self._journal.add_paper(self.symbol, bar.as_of_ms, bar.target, bar.units, bar.cash, bar.equity)
                    for trade in bar.trades:
                        self._journal.add_trade(self.symbol, trade["opened"], trade["closed"], trade)
                    self._journal.stand(self.symbol, "paper", self.paper.save())
                if self.drift is not None:
                    self.drift.add(series)
        return Taken(step, judged, bar)
