"""`FeatureKind` (what a family of features is) and `Feature` (one of them with its arguments): the room's extension point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError
from candelabra.features.bars import Array, Bars

__all__ = ["Completing", "Feature", "FeatureKind", "Kind", "Parameter", "bars_parameter"]


@dataclass(frozen=True)
class Parameter:
    """One argument of a feature: ``bars`` (a whole number of bars), ``number``, ``timeframe``, ``feature`` (another spec) or ``name``."""

    name: str
    type: Literal["bars", "number", "timeframe", "feature", "name"] = "bars"
    default: Any = None
    least: float = 1


def bars_parameter(default: int | None = None, name: str = "n", least: int = 1) -> tuple[Parameter, ...]:
    """The usual parameter list: one window length in bars."""
    return (Parameter(name, "bars", default, least),)


@runtime_checkable
class FeatureKind(Protocol):
    """What a feature family must offer; third parties register theirs in the entry-point group ``candelabra.feature``.

    The registered :class:`~candelabra.registry.Entry` has ``target`` = import path of an object like this.
    """

    @property
    def name(self) -> str:
        """The word before the parenthesis in a spec."""
        ...

    @property
    def formula(self) -> str:
        """The arithmetic in a line."""
        ...

    @property
    def source(self) -> str:
        """Paper or common knowledge it comes from."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the arithmetic does."""
        ...

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Its arguments, in order."""
        ...

    def channels(self, *arguments: Any) -> tuple[str, ...]:
        """Names of the channels; empty for a feature with one channel, called by its spec."""
        ...

    def warm_up(self, timeframe: Timeframe, *arguments: Any) -> int:
        """Bars needed before a bar for its value to be final (recomputing from that tail equals the full history)."""
        ...

    def compute(self, bars: Bars, *arguments: Any) -> tuple[Array, ...]:
        """A float64 column ``(n,)`` per channel; NaN where not yet known; a row reads nothing after it."""
        ...


@runtime_checkable
class Completing(Protocol):
    """A kind whose later arguments depend on the first ones."""

    def complete(self, *arguments: Any) -> tuple[Any, ...]:
        """The arguments with defaults filled in; UsageError when they cannot be."""
        ...


@dataclass(frozen=True)
class Kind:
    """A feature kind made of plain functions: ``function(bars, *arguments)`` gives a column or a tuple of columns.

    ``memory`` is the warm-up: a number, or ``memory(timeframe, *arguments)``; by default the largest whole-bar argument.
    """

    name: str
    function: Callable[..., Array | tuple[Array, ...]]
    formula: str
    parameters: tuple[Parameter, ...] = ()
    parts: tuple[str, ...] = ()
    memory: int | Callable[..., int] | None = None
    source: str = ""
    version: str = "1"

    def channels(self, *arguments: Any) -> tuple[str, ...]:
        """Names of the channels (the same for all arguments)."""
        return self.parts

    def warm_up(self, timeframe: Timeframe, *arguments: Any) -> int:
        """Bars needed before a bar for its value to be final."""
        if self.memory is None:
            return max((a for a in arguments if isinstance(a, int)), default=0)
        return self.memory if isinstance(self.memory, int) else self.memory(timeframe, *arguments)

    def compute(self, bars: Bars, *arguments: Any) -> tuple[Array, ...]:
        """A float64 column per channel."""
        columns = self.function(bars, *arguments)
        return columns if isinstance(columns, tuple) else (columns,)


@dataclass(frozen=True)
class Feature:
    """One feature: a kind with its arguments, and the channel picked from it (all channels when None)."""

    kind: FeatureKind
    arguments: tuple[Any, ...] = ()
    channel: str | None = None

    @cached_property
    def whole(self) -> str:
        """The canonical spec without a channel, e.g. ``rsi(14)``."""
        name, arguments = self.kind.name, self.arguments
        if name == "talib":
            name, arguments = f"{name}.{arguments[0]}", arguments[1:]
        inside = ",".join(_spell(a) for a in arguments)
        return f"{name}({inside})" if inside else name

    @property
    def spec(self) -> str:
        """The canonical spec; parsing it gives this feature again."""
        return self.whole if self.channel is None else f"{self.whole}.{self.channel}"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Channel names; each is itself a spec that gives that channel alone."""
        parts = self.kind.channels(*self.arguments)
        if self.channel is not None:
            return (self.spec,)
        return tuple(f"{self.whole}.{part}" for part in parts) if parts else (self.whole,)

    def warm_up(self, timeframe: Timeframe) -> int:
        """Bars needed before a bar for its value to be final."""
        return self.kind.warm_up(timeframe, *self.arguments)

    def compute(self, bars: Bars) -> tuple[Array, ...]:
        """A float64 column ``(n,)`` for each name; DataError when the kind gives something else."""
        columns = self.kind.compute(bars, *self.arguments)
        parts = self.kind.channels(*self.arguments)
        if len(columns) != max(1, len(parts)) or any(c.shape != (len(bars),) for c in columns):
            shapes = [c.shape for c in columns]
            raise DataError(f"feature {self.whole} gave columns of shape {shapes}; {max(1, len(parts))} of shape ({len(bars)},) were due")
        return columns if self.channel is None else (columns[parts.index(self.channel)],)

    def single(self, bars: Bars) -> Array:
        """The column of a one-channel feature, computed once and not to be written to; UsageError for one with several."""
        if len(self.names) > 1:
            raise UsageError(f"{self.whole} has {len(self.names)} channels: pick one, as in {self.names[0]}")
        column: Array = bars.once(("single", self.spec), lambda: self.compute(bars)[0])
        return column


def _spell(argument: Any) -> str:
    if isinstance(argument, Feature):
        return argument.spec
    return f"{argument:g}" if isinstance(argument, float) else str(argument)
