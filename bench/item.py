"""What a measurement is made of: items, the tools compared in them, and the reach beside the code that measures it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

Values = Mapping[str, Mapping[str, float]]
"""Medians over the rounds: ``values[tool][figure]``."""


@dataclass(frozen=True)
class Reading:
    """One figure of one tool: ``value`` in ``unit``; ``checksum`` of what was computed, compared with the reference tool's; ``note``."""

    value: float
    unit: str
    checksum: str = ""
    note: str = ""


class Absent(Exception):
    """The tool cannot run here; the text says what is missing and how to get it. Reported, never faked."""


@dataclass(frozen=True)
class Tool:
    """One contestant. ``run(small)`` returns figures by name ("" is the item's own); ``modules`` must be importable, ``rival`` names its
    folder under ``bench/rivals`` (requirements, and a virtual environment of its own when it has one).
    """

    run: Callable[[bool], dict[str, Reading]]
    modules: tuple[str, ...] = ()
    rival: str = ""


@dataclass(frozen=True)
class Goal:
    """A ratio and its reach (``">= 3"``), written to the line of ``tool`` and ``figure``.

    ``absolute``: the ratio is a time or a rate of this machine, which counts only while its peak is near the recorded one.
    """

    tool: str
    figure: str
    ratio: Callable[[Values], float]
    reach: str
    absolute: bool = False

    def met(self, ratio: float) -> bool:
        """Whether the reach is met."""
        sign, limit = self.reach.split()
        return {">=": ratio >= float(limit), "<=": ratio <= float(limit), "<": ratio < float(limit)}[sign]


@dataclass(frozen=True)
class Item:
    """A row of an issue's table of figures. ``reference``: the tool whose checksums the others must equal ("" : nothing to compare).

    ``limit``: seconds by the clock that a round of a tool may take before it counts as failed.
    """

    name: str
    about: str
    tools: Mapping[str, Tool]
    goals: tuple[Goal, ...] = ()
    reference: str = ""
    rounds: int = 3
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    in_small: bool = True
    limit: float = 1800.0
