"""How a check says that a law is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from candelabra.evaluation.findings import Audit

__all__ = ["LawBroken", "require"]


class LawBroken(AssertionError):
    """A feature, model or function does not keep one of the laws; the message says which, where and by how much.

    ``audit``: the audit that found it, where there was one.
    """

    def __init__(self, message: str, audit: Audit | None = None) -> None:
        super().__init__(message)
        self.audit = audit


def require(kept: bool, message: str) -> None:
    """LawBroken with ``message`` unless the law is kept."""
    if not kept:
        raise LawBroken(message)
