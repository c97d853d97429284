"""Proof that the audit bites: every planted defect is caught, and named by column and distance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from candelabra.evaluation.findings import Audit, Finding
from candelabra.testing.planted import PLANTED, Planted
from candelabra.testing.proof import audit_planted, missed

WRITTEN_BEFORE = 25
"""How many of them the commit before the audit's first line planted."""


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.name)
def test_a_planted_defect_is_named_by_column_and_distance(planted: Planted) -> None:
    found = audit_planted(planted)
    assert missed(planted, found) == ""
    assert planted.column in "; ".join(f.words for f in found.findings)


def test_there_are_defects_of_every_law_and_each_has_its_own_name() -> None:
    assert len(PLANTED) >= 2 * WRITTEN_BEFORE
    assert len({p.name for p in PLANTED}) == len(PLANTED)
    assert {p.law for p in PLANTED} == {"future", "stale", "stream", "fit", "label", "split", "layer"}


def test_what_is_said_must_fit_in_column_law_and_distance() -> None:
    planted = next(p for p in PLANTED if p.name == "centred_window")
    right = Finding("x", "future", "sma_7", 3, "1h")
    assert missed(planted, Audit("x", (right,))) == ""
    for wrong in (replace(right, column="sma_8"), replace(right, law="stale"), replace(right, bars=2), replace(right, bars=None)):
        assert missed(planted, Audit("x", (wrong,)))
    assert "nothing" in missed(planted, Audit("x"))
