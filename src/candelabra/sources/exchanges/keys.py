"""API keys for those who have one: from the environment or a file that only its owner can read, and never seen again."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Final

from candelabra.errors import UsageError

__all__ = ["Secret", "key_for"]

_FILE: Final = "CANDELABRA_KEYS_FILE"
_HOME: Final = Path("~/.config/candelabra/keys.toml")


class Secret:
    """A text that shows itself to nobody who does not ask for it by name.

    >>> f"{Secret('abc')} {Secret('abc')!r}"
    '… Secret(…)'
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def open(self) -> str:
        """The text itself, for the wire."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return "…"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not stored")


def key_for(source: str) -> Secret | None:
    """The key of a source: ``CANDELABRA_COINGECKO_KEY``, or ``coingecko = "..."`` in the file that ``CANDELABRA_KEYS_FILE`` names (default:
    ``~/.config/candelabra/keys.toml``). None when there is none, and none is needed. UsageError for a file that others can read.
    """
    given = os.environ.get(f"CANDELABRA_{source.upper().replace('-', '_')}_KEY")
    if given:
        return Secret(given)
    named = os.environ.get(_FILE)
    path = Path(named) if named else _HOME.expanduser()
    if not path.is_file():
        if named:
            raise UsageError(f"{_FILE} names {path}, which is no file: correct or unset it")
        return None
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise UsageError(f"{path} holds keys and others can read it: chmod 600 {path}")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8")).get(source)
    except (OSError, ValueError):
        # What the parser quotes could be a key.
        raise UsageError(f'{path} cannot be read as TOML: write lines like coingecko = "the key"') from None
    return Secret(found) if isinstance(found, str) and found else None
