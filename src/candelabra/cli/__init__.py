"""Thin verbs over the journeys; importing this room loads no heavy library."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (default: the process's arguments) and give its exit code."""
    from candelabra.cli.run import run

    return run(arguments)
