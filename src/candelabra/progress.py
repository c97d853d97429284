"""How a long journey tells whoever watches how far it is: a protocol left of every room, and the watcher who looks away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

__all__ = ["Reporter", "Silent"]


@runtime_checkable
class Reporter(Protocol):
    """Somebody who watches a journey; nothing a journey computes may depend on it.

    Stages nest; ``advance`` moves the innermost open one. A stage ends when its context is left, also by an error.

    >>> def journey(progress: Reporter) -> int:
    ...     with progress.stage("train", total=3):
    ...         for step in range(3):
    ...             progress.advance(1, loss=1.0 / (step + 1))
    ...     progress.note("early stop")
    ...     return step
    >>> journey(Silent())
    2
    """

    def stage(self, name: str, total: float | None = None) -> AbstractContextManager[None]:
        """Enter a stage called ``name`` of ``total`` units of work (None: unknown)."""
        ...

    def advance(self, amount: float = 1, **figures: float) -> None:
        """``amount`` units of the innermost stage are done; ``figures`` (loss, rate) replace what is shown beside it."""
        ...

    def note(self, text: str) -> None:
        """One sentence worth keeping after the stage has gone."""
        ...


class Silent:
    """The reporter that shows nothing: the default of every journey called from Python."""

    @contextmanager
    def stage(self, name: str, total: float | None = None) -> Iterator[None]:
        """Nothing is shown."""
        yield

    def advance(self, amount: float = 1, **figures: float) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Nothing is shown."""
