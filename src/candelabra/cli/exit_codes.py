"""What the process's exit code says; errors carry their own (`candelabra.errors`)."""

from __future__ import annotations

from typing import Final

__all__ = ["EXIT_CRASH", "EXIT_FINDINGS", "EXIT_INTERRUPTED", "EXIT_USAGE"]

EXIT_FINDINGS: Final = 1
EXIT_USAGE: Final = 2
EXIT_CRASH: Final = 70
"""A defect of the program itself (sysexits.h calls it EX_SOFTWARE)."""
EXIT_INTERRUPTED: Final = 130
