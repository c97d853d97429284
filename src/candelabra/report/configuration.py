"""How to get the same again: commands, versions, and the resolved configuration."""

from __future__ import annotations

from candelabra.report.inputs import ReportInputs
from candelabra.report.markup import Cell, Section, escape, table, words

__all__ = ["section"]


def section(inputs: ReportInputs) -> Section | None:
    """Commands open, the long configuration folded."""
    parts = []
    if inputs.commands:
        lines = "\n".join(f"$ {command}" for command in inputs.commands)
        parts.append(f"<h3>How to reproduce</h3><pre>{escape(lines)}</pre>")
    if inputs.config_toml.strip():
        parts.append(f"<details><summary>Resolved configuration (TOML)</summary><pre>{escape(inputs.config_toml.strip())}</pre></details>")
    if inputs.versions:
        rows = [[words(name), Cell(version, "code")] for name, version in sorted(inputs.versions.items())]
        parts.append(f"<details><summary>Versions</summary>{table(('Library', 'Version'), rows, css='narrow')}</details>")
    if not parts:
        return None
    return Section("configuration", "Configuration and reproduction", "Config", "".join(parts))
