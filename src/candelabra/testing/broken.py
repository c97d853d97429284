"""How a check says that a law is broken."""

from __future__ import annotations

__all__ = ["LawBroken", "require"]


class LawBroken(AssertionError):
    """A feature or model does not keep one of the laws; the message says which, where and by how much."""


def require(kept: bool, message: str) -> None:
    """LawBroken with ``message`` unless the law is kept."""
    if not kept:
        raise LawBroken(message)
