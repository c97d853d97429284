"""Reading spec strings: ``name(argument, argument).channel``, nested where an argument is a feature."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from candelabra.errors import UsageError

__all__ = ["SpecText", "read_spec"]

_HEAD: Final = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)((?:\.[A-Za-z_][A-Za-z0-9_]*)*)\s*")
_PREFIXED: Final = ("talib",)


@dataclass(frozen=True)
class SpecText:
    """A spec taken apart, nothing looked up: ``arguments`` are plain words or specs again."""

    name: str
    arguments: tuple[SpecText | str, ...] = ()
    channel: str | None = None


def read_spec(text: str) -> SpecText:
    """Take a spec apart; UsageError where it cannot be one.

    >>> read_spec("lag(macd(12, 26, 9).signal, 3)").arguments[1]
    '3'
    >>> read_spec("talib.CCI(20)")
    SpecText(name='talib', arguments=('CCI', '20'), channel=None)
    """
    if not isinstance(text, str):
        raise UsageError(f"a feature is named by text such as return(24), got {text!r}")
    match = _HEAD.match(text)
    if not match:
        raise UsageError(f"{text!r} does not begin with a feature's name: write it as in return(24)")
    name, dotted = match.group(1), match.group(2).split(".")[1:]
    rest = text[match.end() :].strip()
    before: tuple[str, ...] = ()
    if name in _PREFIXED:
        if not dotted:
            raise UsageError(f"{name} needs a function behind a dot, as in {name}.CCI(20)")
        before, dotted = (dotted[0],), dotted[1:]
    arguments: tuple[SpecText | str, ...] = ()
    if rest:
        inside, after = _parenthesis(text, rest)
        if dotted:
            raise UsageError(f"{text!r}: the channel belongs behind the parenthesis, as in macd(12,26,9).signal")
        arguments = tuple(_word(part) for part in _split(inside))
        if after and not re.fullmatch(r"\.[A-Za-z_][A-Za-z0-9_]*", after):
            raise UsageError(f"{text!r}: cannot read {after!r} behind the parenthesis")
        dotted = [after[1:]] if after else []
    if len(dotted) > 1:
        raise UsageError(f"{text!r}: a feature has one channel name behind it")
    return SpecText(name, (*before, *arguments), dotted[0] if dotted else None)


def _parenthesis(text: str, rest: str) -> tuple[str, str]:
    if rest[0] != "(":
        raise UsageError(f"{text!r}: cannot read {rest!r}; write arguments in parentheses, as in return(24)")
    depth = 0
    for i, sign in enumerate(rest):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return rest[1:i], rest[i + 1 :].strip()
    raise UsageError(f"{text!r}: a parenthesis is not closed")


def _split(inside: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for i, sign in enumerate(inside):
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append(inside[begin:i])
            begin = i + 1
    parts.append(inside[begin:])
    return [] if parts == [""] else [p.strip() for p in parts]


def _word(part: str) -> SpecText | str:
    if not part:
        raise UsageError("an argument is empty")
    return read_spec(part) if "(" in part else part
