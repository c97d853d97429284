"""The statechart of a symbol: what leads where, who is told, and what cannot happen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.errors import UsageError
from candelabra.live.states import EVENTS, STATES, Health, StateChange


def test_a_day_in_its_life() -> None:
    chart, told = Health("BTC/USDT"), list[StateChange]()
    end = chart.on_change(told.append)
    for number, event in enumerate(["ready", "silent", "lost", "ready", "lost", "silent", "ready", "halt"]):
        assert chart.send(event, f"why {number}", number)
    assert [c.after for c in told] == ["live", "stale", "recovering", "live", "recovering", "stale", "live", "halted"]
    assert [c.before for c in told] == ["warming", *[c.after for c in told[:-1]]]
    assert (told[1].why, told[1].at_ms, told[1].subject) == ("why 1", 1, "BTC/USDT")
    end()
    assert not chart.send("ready", "never again", 9)
    assert chart.state == "halted"
    assert (chart.why, chart.since_ms) == ("why 7", 7)


def test_an_event_that_leads_nowhere_changes_and_tells_nothing() -> None:
    chart, told = Health("x"), list[StateChange]()
    chart.on_change(told.append)
    assert not chart.send("silent", "", 0)
    assert chart.state == "warming"
    assert told == []
    with pytest.raises(UsageError, match='did you mean "ready"'):
        chart.send("raedy", "", 0)


@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
def test_the_machine_does_what_the_table_says(events: list[str]) -> None:
    chart, state = Health("x"), "warming"
    for event in events:
        moved = chart.send(event, "", 0)
        assert moved == (state in EVENTS[event])
        state = EVENTS[event].get(state, state)
        assert chart.state == state


def test_every_state_is_in_the_diagram() -> None:
    text = Health("x").diagram()
    assert all(name in text for name in STATES)
