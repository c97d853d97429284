"""Progress on stderr: bars with figures and time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TextIO

from candelabra.progress import Reporter, Silent

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Bars", "Lines", "reporter"]

_EVERY_SECONDS: Final = 10.0


@contextmanager
def reporter(*, quiet: bool = False) -> Iterator[Reporter]:
    """What suits stderr: bars on a terminal, else lines, else (``quiet``) nothing."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty():
        from candelabra.cli.console import err

        with Bars(err()).shown() as bars:
            yield bars
    else:
        yield Lines(sys.stderr)


def _figures(figures: dict[str, float]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())


def _lasted(seconds: float) -> str:
    """Seconds for people.

    >>> _lasted(3.21), _lasted(125)
    ('3.2 s', '2 min 5 s')
    """
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


@dataclass
class _Stage:
    name: str
    total: float | None
    begun: float
    done: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)
    shown_at: float = 0.0
    task: Any = None


class Lines:
    """A `Reporter` for logs: one line when a stage ends, and one every ten seconds within it."""

    def __init__(self, stream: TextIO, every_seconds: float = _EVERY_SECONDS) -> None:
        self._stream, self._every, self._stages = stream, every_seconds, list[_Stage]()

    @contextmanager
    def stage(self, name: str, total: float | None = None) -> Iterator[None]:
        """A stage; its line says how long it took and its last figures."""
        now = time.monotonic()
        stage = _Stage(name, total, now, shown_at=now)
        self._stages.append(stage)
        try:
            yield
        except BaseException:
            self._say(f"{name}: stopped after {_lasted(time.monotonic() - stage.begun)}")
            raise
        else:
            self._say(f"{name}: {_lasted(time.monotonic() - stage.begun)}  {_figures(stage.figures)}".rstrip())
        finally:
            self._stages.pop()

    def advance(self, amount: float = 1, **figures: float) -> None:
        """Units done; shown at most every ten seconds, with the time left at this pace."""
        if not self._stages:
            return
        stage = self._stages[-1]
        stage.done += amount
        stage.figures |= figures
        now = time.monotonic()
        if now - stage.shown_at >= self._every:
            stage.shown_at = now
            left = f", {_lasted((stage.total / stage.done - 1) * (now - stage.begun))} left" if stage.total and stage.done else ""
            share = f" {100 * stage.done / stage.total:.0f} %" if stage.total else ""
            self._say(f"{stage.name}:{share}{left}  {_figures(stage.figures)}".rstrip())

    def note(self, text: str) -> None:
        """A line."""
        self._say(f"note: {text}")

    def _say(self, text: str) -> None:
        print("  " * max(0, len(self._stages) - 1) + text, file=self._stream, flush=True)


class Bars:
    """A `Reporter` for terminals: a bar for each open stage, a line left behind by each outer one."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskProgressColumn, TextColumn
        from rich.text import Text

        class Clock(ProgressColumn):
            """Time spent, and time left where the amount of work is known."""

            def render(self, task: Any) -> Text:
                left = f", {_lasted(task.time_remaining)} left" if task.time_remaining else ""
                return Text(f"{_lasted(task.elapsed or 0.0)}{left}")

        self._console, self._stages = console, list[_Stage]()
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=28), TaskProgressColumn(),
            Clock(), TextColumn("{task.fields[figures]}", markup=False),
            console=console, transient=True,
        )  # fmt: skip

    @contextmanager
    def shown(self) -> Iterator[Bars]:
        """While open, the bars are on the terminal."""
        with self._progress:
            yield self

    @contextmanager
    def stage(self, name: str, total: float | None = None) -> Iterator[None]:
        """A stage with its own bar."""
        task = self._progress.add_task("  " * len(self._stages) + name, total=total, figures="")
        stage = _Stage(name, total, time.monotonic(), task=task)
        self._stages.append(stage)
        try:
            yield
            if len(self._stages) == 1:
                self._console.print(f"{name}: {_lasted(time.monotonic() - stage.begun)}  {_figures(stage.figures)}".rstrip())
        finally:
            self._stages.pop()
            self._progress.remove_task(task)

    def advance(self, amount: float = 1, **figures: float) -> None:
        """Units done and figures of the innermost stage."""
        if self._stages:
            stage = self._stages[-1]
            stage.figures |= figures
            self._progress.update(stage.task, advance=amount, figures=_figures(stage.figures))

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._console.print(f"note: {text}")
