"""What can go wrong, named by what the user has to do about it.

CandelabraError
 ├─ UsageError         a command, option or setting that cannot be (exit code 2)
 │   └─ MissingExtraError   an optional library is not installed
 ├─ DataError          candles or labels that cannot be used as they are (exit code 3)
 ├─ SourceError        an exchange, socket or disk did not deliver (exit code 4)
 └─ BundleError        a bundle that is damaged or does not fit the data or the code (exit code 3)

Every message says what was got, why it cannot be, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = ["BundleError", "CandelabraError", "DataError", "MissingExtraError", "SourceError", "UsageError"]


class CandelabraError(Exception):
    """Any error candelabra raises for a reason the user can act on."""

    exit_code: ClassVar[int] = 1


class UsageError(CandelabraError):
    """A command, option, setting or argument that cannot be."""

    exit_code: ClassVar[int] = 2


class MissingExtraError(UsageError):
    """An optional library is missing; the message is the command that installs it."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the library {library!r}, which is not installed: pip install 'candelabra[{extra}]'")
        self.library, self.extra = library, extra


class DataError(CandelabraError):
    """Candles, features or targets that cannot be used as they are."""

    exit_code: ClassVar[int] = 3


class BundleError(CandelabraError):
    """A bundle that is damaged, or does not fit the data or the code it meets."""

    exit_code: ClassVar[int] = 3


class SourceError(CandelabraError):
    """A source of candles did not deliver; ``retryable`` says whether asking again can help."""

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.retryable = retryable
