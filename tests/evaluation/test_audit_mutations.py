"""A sample of the automatic mutations of the catalog; all 200 are the bench item ``trust/audit/mutations``."""

from __future__ import annotations

import pytest

from candelabra.testing.mutations import Mutant, mutants, try_mutant

SAMPLE = 32


def test_mutants_are_chosen_by_the_seed_and_come_from_every_family() -> None:
    every = mutants()
    assert len(every) == 200
    assert every == mutants()
    assert every != mutants(seed=1)
    assert {family: sum(m.family == family for m in every) for family in ("shift", "window", "join", "fit")} == dict.fromkeys(
        ("shift", "window", "join", "fit"), 50
    )


def test_a_sample_of_mutants_is_caught_with_the_right_law_and_distance() -> None:
    outcomes = [try_mutant(m) for m in mutants(SAMPLE)]
    alive = [o for o in outcomes if not o.equivalent]
    caught = [o for o in alive if o.caught]
    assert len(caught) >= 0.95 * len(alive), [o.mutant.name for o in alive if not o.caught]
    assert not [o.said for o in outcomes if o.measured is False]
    print(f"recall {len(caught)} of {len(alive)}, {len(outcomes) - len(alive)} equivalent")


@pytest.mark.parametrize(
    ("mutant", "reason"),
    [
        (Mutant("window", "window forward", "close_position(1)", 0), "those of the original on every bar"),
        (Mutant("fit", "whole series", "window_week(24)", 0), "the clock alone"),
        (Mutant("shift", "rows behind", "target_hour", 1), "the clock alone"),
    ],
)
def test_an_equivalent_mutant_is_argued(mutant: Mutant, reason: str) -> None:
    outcome = try_mutant(mutant)
    assert not outcome.caught
    assert reason in outcome.equivalent
