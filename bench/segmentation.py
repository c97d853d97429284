"""Segmentation on the ten benchmark markets: rivals and ceilings, each with every figure, one table in one run.

``python -m bench.segmentation`` prints the table, ``python -m bench run regimes/rivals`` gives the same as an item. Each market: the first
70 % is the learning range (its last 2,000 bars validate: decoders are tuned there), the rest is judged. Rows are means over the markets;
intervals of differences are paired bootstraps over markets. Networks join as a function in `NETWORKS`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from bench.item import Item, Reading, Tool
from bench.timing import digest
from candelabra.candles.frame import Candles
from candelabra.candles.regime_markets import RegimeMarket, regime_markets
from candelabra.candles.regime_oracle import oracle_filtered, oracle_lagged, oracle_smoothed, oracle_viterbi
from candelabra.errors import MissingExtraError
from candelabra.metrics.segment_differences import difference_over_markets
from candelabra.metrics.segments import SegmentScores, segment_scores
from candelabra.models.regime_baselines import RegimeAnswer, fit_majority, fit_trailing_rule, lagged_truth
from candelabra.models.regime_change_points import fit_change_point_labels
from candelabra.models.regime_hmm import HmmSettings, fit_hmm
from candelabra.models.regime_trees import fit_regime_trees
from candelabra.regimes.durations import fit_durations
from candelabra.regimes.filters import evidence, markov_filter
from candelabra.regimes.hysteresis import HysteresisSettings, hysteresis

__all__ = ["ITEMS", "NETWORKS", "Ground", "Row", "decode", "ground", "markets"]

LABELS = 4
LAG = 30
FLIPS, DELAY = 6.0, 25.0  # most flips in 1,000 bars and median delay in bars that a decoder may leave on validation


def markets(small: bool = False) -> tuple[RegimeMarket, ...]:
    """The ten markets of 20,000 bars; three of 6,000 in small mode."""
    return regime_markets(3, 6_000) if small else regime_markets()


@dataclass(frozen=True, eq=False)
class Ground:
    """Markets and where their ranges end, in bars: ``train``, then validation to ``learn``, then test."""

    markets: tuple[RegimeMarket, ...]
    train: int
    learn: int

    @cached_property
    def candles(self) -> list[Candles]:
        """Candles of the learning range: all a rival may see when it is fitted."""
        return [m.candles.rows(slice(0, self.learn)) for m in self.markets]

    @cached_property
    def codes(self) -> list[Any]:
        """Their truth, validation included."""
        return [m.regime[: self.learn].astype(np.int16) for m in self.markets]

    @cached_property
    def train_codes(self) -> list[Any]:
        """The same with validation unlabelled: for models whose decoder is tuned there."""
        return [np.where(np.arange(self.learn) < self.train, c, -1).astype(np.int16) for c in self.codes]


def ground(small: bool = False) -> Ground:
    """70 % to learn from, of which the last tenth of the market validates."""
    made = markets(small)
    bars = len(made[0].candles)
    return Ground(made, bars * 6 // 10, bars * 7 // 10)


@dataclass(frozen=True, eq=False)
class Row:
    """What one method said of every market, ``answers[market]`` over all its bars; CPU seconds to fit, and to answer for 100,000 bars.

    ``causal``: it could have been said at the time.
    """

    name: str
    causal: bool
    answers: Sequence[RegimeAnswer]
    fit_seconds: float = float("nan")
    seconds: float = float("nan")
    note: str = ""
    probabilities: bool = True

    def scores(self, on: Ground, part: str = "test") -> list[SegmentScores]:
        """Figures of each market on the test or the validation range."""
        rows = slice(on.learn, None) if part == "test" else slice(on.train, on.learn)
        return [
            segment_scores(m.regime[rows], a.code[rows], a.probabilities[rows] if self.probabilities else None, labels=LABELS)
            for m, a in zip(on.markets, self.answers, strict=True)
        ]


def fitted(on: Ground, name: str, fit: Callable[[], Any], note: Callable[[Any], str] = lambda _: "") -> Row:
    """The row of a model, or of one model for each market (a list)."""
    start = time.process_time()
    model = fit()
    middle = time.process_time()
    each = model if isinstance(model, list) else [model] * len(on.markets)
    answers = [one.answer(m.candles) for one, m in zip(each, on.markets, strict=True)]
    seconds = (time.process_time() - middle) / sum(len(m.candles) for m in on.markets) * 1e5
    return Row(name, each[0].causal, answers, middle - start, seconds, note(model))


def rivals(on: Ground) -> list[Row]:
    """All rivals; one whose library is missing says so on stderr and is left out, never faked."""
    learn, codes = on.candles, on.codes

    def hmm(span: int) -> Callable[[], Any]:
        return lambda: [
            fit_hmm(c, t, LABELS, HmmSettings(span=span, restarts=1 if span == 1 else 3)) for c, t in zip(learn, codes, strict=True)
        ]

    found = [
        fitted(on, "majority", lambda: fit_majority(learn, codes, LABELS)),
        fitted(on, "trailing rule", lambda: fit_trailing_rule(learn, codes), lambda m: f"window {m.window}, z {m.trend}, ratio {m.ratio}"),
    ]
    late = [(lag, [lagged_truth(m.regime, lag, LABELS) for m in on.markets]) for lag in (10, 25)]
    found += [Row(f"truth {lag} bars late", False, answers, probabilities=False) for lag, answers in late]
    others: list[Callable[[], Row]] = [lambda span=span: fitted(on, f"HMM filtered, {span} bars", hmm(span)) for span in (1, 15, 60)]  # type: ignore[misc]
    others.append(lambda: fitted(on, "LightGBM", lambda: fit_regime_trees(learn, on.train_codes, LABELS)))
    others.append(
        lambda: fitted(on, "KernelCPD + LDA", lambda: fit_change_point_labels(learn, codes, LABELS), lambda m: f"penalty {m.penalty}")
    )
    for other in others:
        try:
            found.append(other())
        except MissingExtraError as missing:
            print(missing, file=sys.stderr)
    return found


def ceilings(on: Ground) -> list[Row]:
    """The oracle that knows the parameters and the variance factor: filtered, fixed lag, smoothed, most probable path."""

    def row(name: str, causal: bool, posterior: Callable[[RegimeMarket], Any], probabilities: bool = True) -> Row:
        start = time.process_time()
        chances = [posterior(m) for m in on.markets]
        seconds = (time.process_time() - start) / sum(len(m.candles) for m in on.markets) * 1e5
        answers = [RegimeAnswer(np.where(np.isnan(p[:, 0]), -1, np.argmax(np.nan_to_num(p), 1)).astype(np.int16), p) for p in chances]
        return Row(name, causal, answers, 0.0, seconds, probabilities=probabilities)

    def path(m: RegimeMarket) -> Any:
        return np.eye(LABELS)[oracle_viterbi(m)]

    return [
        row("oracle filtered", True, oracle_filtered),
        row(f"oracle, lag {LAG}", True, lambda m: oracle_lagged(m, LAG)),
        row("oracle smoothed", False, oracle_smoothed),
        row("oracle path", False, path, False),
    ]


NETWORKS: list[Callable[[Ground], Sequence[Row]]] = []
"""Each gives the rows of a network on a ground: fitted on ``candles`` and ``train_codes``, one row a seed or decoder."""


# --- decoders tuned on validation --------------------------------------------------------------------------------------------------


def decode(row: Row, on: Ground) -> list[Row]:
    """A causal row after each decoder: settings of greatest macro-F1 plus covering on validation within `FLIPS` and `DELAY` there."""
    durations = fit_durations(list(on.train_codes), LABELS)
    start, chain = durations.share, durations.transition()

    def heard(power: float) -> list[RegimeAnswer]:
        out = []
        for answer in row.answers:
            belief = markov_filter(evidence(answer.probabilities, durations.share, power), start, chain)
            out.append(RegimeAnswer(np.argmax(belief, 1).astype(np.int16), belief))
        return out

    def held(answers: Sequence[RegimeAnswer], enter: float, confirm: int, hold: int) -> list[RegimeAnswer]:
        settings = HysteresisSettings(enter, confirm, hold)
        return [RegimeAnswer(hysteresis(a.probabilities, settings), a.probabilities) for a in answers]

    plain = [
        (held(row.answers, *s), f"enter {s[0]}, confirm {s[1]}, hold {s[2]}") for s in product((0.5, 0.6, 0.7), (1, 3, 6, 10), (0, 30))
    ]
    markov = [(heard(power), f"power {power}") for power in (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)]
    return [_best(row, on, name, tried) for name, tried in (("hysteresis", plain), ("Markov filter", markov))]


def _best(row: Row, on: Ground, decoder: str, tried: Sequence[tuple[list[RegimeAnswer], str]]) -> Row:
    candidates = [Row(f"{row.name} + {decoder}", True, answers, row.fit_seconds, row.seconds, note) for answers, note in tried]

    def worth(candidate: Row) -> float:
        found = candidate.scores(on, "validation")
        flips, delay = float(np.mean([s.flips for s in found])), float(np.nanmean([s.delay_median for s in found]))
        # Bounds first: what passes them is worse than what keeps them, the more the further.
        beyond = max(flips / FLIPS - 1.0, 0.0) + max(delay / DELAY - 1.0, 0.0)
        return float(np.mean([s.macro_f1 + s.covering for s in found])) - 10.0 * beyond

    return max(candidates, key=worth)


# --- the table ---------------------------------------------------------------------------------------------------------------------

COLUMNS = {
    "macro_f1": "F1",
    "covering": "cover",
    "boundary_f1_1": "b 1%",
    "boundary_f1_5": "b 5%",
    "boundary_f1_10": "b 10%",
    "ari": "ARI",
    "wari": "WARI",
    "state_matching": "SMS",
    "late": "late",
    "transition": "trans",
    "isolation": "isol",
    "missing": "missg",
    "delay_median": "delay",
    "delay_p90": "p90",
    "missed": "missed",
    "flips": "flips",
    "ece": "ECE",
    "brier": "Brier",
}


@dataclass(eq=False)
class Table:
    """Rows and their figures by market, in order."""

    on: Ground
    scores: dict[str, list[SegmentScores]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    def add(self, *rows: Row) -> None:
        """Judge them."""
        for row in rows:
            self.rows[row.name], self.scores[row.name] = row, row.scores(self.on)

    def mean(self, name: str, figure: str) -> float:
        """Mean over markets that have it."""
        values = np.array([getattr(s, figure) for s in self.scores[name]])
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def contest(small: bool = False) -> Table:
    """Everything: rivals, networks, ceilings, and causal probabilities decoded."""
    table = Table(ground(small))
    found = rivals(table.on)
    table.add(*found, *(row for network in NETWORKS for row in network(table.on)))
    best = ceilings(table.on)
    table.add(*best)
    for row in (*found, *best):
        if row.name in ("LightGBM", "HMM filtered, 60 bars", "oracle filtered"):
            table.add(*decode(row, table.on))
    return table


def _rivals(small: bool) -> dict[str, Reading]:
    table = contest(small)
    seal = digest(*(m.regime for m in table.on.markets), *(m.returns for m in table.on.markets), digits=6)
    readings = {"": Reading(float(len(table.rows)), "rows", seal, f"{len(table.on.markets)} markets")}
    for name in table.rows:
        text = ", ".join(f"{short} {table.mean(name, figure):.3f}" for figure, short in COLUMNS.items())
        readings[f"macro-F1 {name}"] = Reading(table.mean(name, "macro_f1"), "macro-F1", note=text)
    return readings


ITEMS = (
    Item(
        "regimes/rivals",
        "ten benchmark markets: every rival and the oracle's ceilings, raw and decoded, all figures",
        {"candelabra": Tool(_rivals, ("lightgbm", "hmmlearn", "ruptures"))},
        rounds=1,
    ),
)


def main(arguments: Sequence[str]) -> int:
    """``python -m bench.segmentation [--small]``."""
    table = contest("--small" in arguments)
    print(f"{'':34}" + "".join(f"{short:>8}" for short in COLUMNS.values()) + "   fit s  s/100k")
    for name, row in table.rows.items():
        figures = "".join(f"{table.mean(name, figure):8.3f}" for figure in COLUMNS)
        print(f"{name:32}{'' if row.causal else ' *':2}{figures}{row.fit_seconds:8.1f}{row.seconds:8.2f}  {row.note}")
    print("\n* could not have been said at the time. Against LightGBM, macro-F1 over markets:")
    base = [s.macro_f1 for s in table.scores["LightGBM"]]
    for name, scores in table.scores.items():
        if name != "LightGBM":
            d = difference_over_markets([s.macro_f1 for s in scores], base)
            print(f"  {name:32} {d.value:+.3f} [{d.low:+.3f}, {d.high:+.3f}] {d.words}")
    truth = table.scores["majority"]
    print(f"\ntrue flips {np.mean([s.true_flips for s in truth]):.2f} in 1,000 bars, {sum(s.segments for s in truth)} segments judged")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
