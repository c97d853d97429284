"""Names for the things users can add: sources, features, models and labellers.

A registry maps a name to *where* its settings class and its implementation are, so that listing what exists imports
nothing heavy. Third parties add entries through the entry-point group ``candelabra.<kind>``.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Any

from candelabra.errors import UsageError

__all__ = ["Entry", "Registry", "did_you_mean"]


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """A sentence that suggests the nearest known word, or lists them when none is near.

    >>> did_you_mean("arm", ["arms", "gpt2"])
    'did you mean "arms"?'
    """
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else "known: " + ", ".join(sorted(known))


@dataclass(frozen=True)
class Entry:
    """One registered thing: import paths (``package.module:attribute``) and a line for listings."""

    name: str
    settings: str
    target: str
    summary: str = ""


@dataclass
class Registry:
    """Names of one kind of thing (``kind`` is the entry-point group's last part).

    >>> r = Registry("model")
    >>> r.add(Entry("zero", "candelabra.errors:DataError", "candelabra.errors:DataError"))
    >>> r.names()
    ['zero']
    >>> r.load("zero").__name__
    'DataError'
    """

    kind: str
    _entries: dict[str, Entry] = field(default_factory=dict)
    _scanned: bool = False

    def add(self, entry: Entry) -> None:
        """Register ``entry``; a name is taken once (UsageError)."""
        if entry.name in self._entries:
            raise UsageError(f"the {self.kind} name {entry.name!r} is already taken: choose another name")
        self._entries[entry.name] = entry

    def names(self) -> list[str]:
        """All known names, sorted, third-party ones included."""
        self._scan()
        return sorted(self._entries)

    def entry(self, name: str) -> Entry:
        """The entry called ``name``; UsageError with the nearest name otherwise."""
        self._scan()
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} {name!r}: {did_you_mean(name, list(self._entries))}")
        return self._entries[name]

    def load(self, name: str) -> Any:
        """The implementation behind ``name``."""
        return resolve(self.entry(name).target)

    def settings(self, name: str) -> Any:
        """The settings class of ``name``."""
        return resolve(self.entry(name).settings)

    def __iter__(self) -> Iterator[Entry]:
        return iter([self.entry(n) for n in self.names()])

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        for point in entry_points(group=f"candelabra.{self.kind}"):
            entry = point.load()
            if isinstance(entry, Entry) and entry.name not in self._entries:
                self._entries[entry.name] = entry


def resolve(path: str) -> Any:
    """Import ``package.module:attribute``."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)
