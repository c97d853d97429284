"""`Health`: where a symbol, or an exchange, stands: warming, live, stale, recovering, halted; a statechart that tells of its changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal

from candelabra.errors import UsageError
from candelabra.registry import did_you_mean

__all__ = ["EVENTS", "STATES", "Health", "Place", "StateChange"]

Place = Literal["warming", "live", "stale", "recovering", "halted"]
STATES: Final[tuple[Place, ...]] = ("warming", "live", "stale", "recovering", "halted")
EVENTS: Final = {
    "ready": {"warming": "live", "stale": "live", "recovering": "live"},
    "silent": {"live": "stale", "recovering": "stale"},
    "lost": {"live": "recovering", "stale": "recovering"},
    "halt": {"warming": "halted", "live": "halted", "stale": "halted", "recovering": "halted"},
}
"""Where each event leads, by the state it is sent in; sent in another it changes nothing.

``ready``: everything that has closed is here and predicted. ``silent``: nothing new came for longer than allowed. ``lost``: a session or a
request failed, or what is missing is being asked for. ``halt``: asking again cannot help, or the user ended it.
"""


@dataclass(frozen=True)
class StateChange:
    """``subject`` (an exchange or a symbol) went from one state to another at ``at_ms`` (the clock's time), and why."""

    subject: str
    before: Place
    after: Place
    why: str
    at_ms: int


class Health:
    """The state of one subject; for one thread.

    >>> chart = Health("BTC/USDT")
    >>> chart.on_change(lambda change: print(change.before, "->", change.after, "since", change.why)) is not None
    True
    >>> chart.send("ready", "caught up", at_ms=0)
    warming -> live since caught up
    True
    >>> chart.send("ready", "again", at_ms=1)
    False
    """

    def __init__(self, subject: str) -> None:
        self.subject, self.since_ms, self.why = subject, 0, ""
        self._listeners: list[Callable[[StateChange], object]] = []
        self._machine = _chart()(allow_event_without_transition=True)

    @property
    def state(self) -> Place:
        """Where it stands."""
        active = self._machine.configuration_values
        return next(name for name in STATES if name in active)

    def on_change(self, callback: Callable[[StateChange], object]) -> Callable[[], None]:
        """Call ``callback`` with every change from now on; gives a function that ends it."""
        self._listeners.append(callback)

        def end() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return end

    def send(self, event: str, why: str, at_ms: int) -> bool:
        """An event, see `EVENTS`; whether it changed the state."""
        if event not in EVENTS:
            raise UsageError(f"there is no event {event!r}: {did_you_mean(event, tuple(EVENTS))}")
        before = self.state
        if before not in EVENTS[event]:
            return False
        self._machine.send(event)
        self.since_ms, self.why = at_ms, why
        change = StateChange(self.subject, before, self.state, why, at_ms)
        for callback in tuple(self._listeners):
            callback(change)
        return True

    def diagram(self) -> str:
        """The chart as the text of a Mermaid diagram."""
        return format(self._machine, "mermaid")


@cache
def _chart() -> Any:
    """The machine, made once; the library is loaded when the first is."""
    from statemachine.io import create_machine_class_from_definition

    states: dict[str, Any] = {}
    for name in STATES:
        ways = {event: [{"target": leads[name]}] for event, leads in EVENTS.items() if name in leads}
        states[name] = {"name": name} | ({"initial": True} if name == STATES[0] else {}) | ({"on": ways} if ways else {"final": True})
    return create_machine_class_from_definition("Health", states, catch_errors_as_events=False)
