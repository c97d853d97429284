"""``bundle``: what is in a sealed bundle, whether it is as it was sealed, how it differs from another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from candelabra.cli.console import emit_json, facts, out, table
from candelabra.cli.exit_codes import EXIT_FINDINGS
from candelabra.cli.options import AsJson

if TYPE_CHECKING:
    from candelabra.bundles.verify import Difference

__all__ = ["app", "bundle_folder"]

_FILES: Final = "files."

app = typer.Typer(help="Bundles: show, verify, diff.", no_args_is_help=True)

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or a run's.", show_default=False)]


def bundle_folder(path: Path) -> Path:
    """The bundle at ``path``, which may also be the run folder that holds it."""
    inside = path / "bundle"
    return inside if not (path / "bundle.json").is_file() and (inside / "bundle.json").is_file() else path


@app.command()
def show(bundle: Bundle, as_json: AsJson = False) -> int:
    """Show what a bundle learned from, what it foretells and what it needs."""
    from candelabra.bundles.format import read_manifest

    folder = bundle_folder(bundle)
    manifest = read_manifest(folder)
    if as_json:
        emit_json("bundle show", asdict(manifest))
        return 0
    card = folder / "CARD.md"
    rows = [
        ("bundle", manifest.id),
        ("model", manifest.model),
        ("made", f"{_minute(manifest.created_ms)} by candelabra {manifest.version}, seed {manifest.seed}"),
        ("symbols", ", ".join(manifest.symbols) + (" (SIMULATED)" if manifest.simulated else "")),
        ("horizons", ", ".join(manifest.horizons)),
        ("needs", ", ".join(f"{bars} bars of {tf}" for tf, bars in manifest.needs.items())),
        *((part, f"{_minute(start)} .. {_minute(end)}") for part, (start, end) in sorted(manifest.ranges.items(), key=lambda r: r[1])),
        ("trials", str(manifest.trials)),
        ("libraries", ", ".join(f"{name} {version}" for name, version in manifest.libraries.items())),
        ("files", str(len(manifest.files))),
        ("card", str(card) if card.is_file() else "none"),
    ]
    out().print(facts(rows))
    return 0


@app.command()
def verify(bundle: Bundle, as_json: AsJson = False) -> int:
    """Compare every file with its seal. Exit code 1 when one is missing, changed or added."""
    from candelabra.bundles.format import read_manifest
    from candelabra.bundles.verify import verify as find

    folder = bundle_folder(bundle)
    manifest, findings = read_manifest(folder), find(folder)
    if as_json:
        emit_json("bundle verify", {"bundle": manifest.id, "sealed": not findings, "findings": [asdict(f) for f in findings]})
    elif findings:
        out().print(table(("file", "finding"), [(f.file, f.what) for f in findings]))
        out().print(f"{folder} is not as it was sealed: restore it, or train again", style="red")
    else:
        out().print(f"{folder}: all {len(manifest.files)} files are as they were sealed ({manifest.id})")
    return EXIT_FINDINGS if findings else 0


@app.command()
def diff(
    left: Bundle,
    right: Annotated[Path, typer.Argument(metavar="OTHER", help="The other bundle.", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """Show where two bundles differ, settings first. Exit code 1 when they do."""
    from candelabra.bundles.verify import diff as find

    found = find(bundle_folder(left), bundle_folder(right))
    if as_json:
        emit_json("bundle diff", {"same": not found, "differences": [asdict(d) for d in found]})
    elif found:
        out().print(table(("entry", str(left), str(right)), _differences(found)))
    else:
        out().print("the bundles are the same")
    return EXIT_FINDINGS if found else 0


def _differences(found: Sequence[Difference]) -> list[tuple[str, str, str]]:
    """A row for each entry, and one for all files of a part (or of a baseline) that differ."""
    rows = [(d.key, _short(d.left), _short(d.right)) for d in found if not d.key.startswith(_FILES)]
    parts: dict[str, list[Difference]] = {}
    for one in found:
        if one.key.startswith(_FILES):
            path = one.key.removeprefix(_FILES).split("/")
            parts.setdefault("/".join(path[: min(2, len(path) - 1)]) or path[0], []).append(one)
    for part, own in parts.items():
        left, right = (sum(getattr(d, side) is not None for d in own) for side in ("left", "right"))
        rows.append((f"files: {part}", f"{left} of {len(own)} that differ", f"{right} of {len(own)}"))
    return rows


def _short(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _minute(time_ms: int) -> str:
    from candelabra.candles.frame import format_minute

    return f"{format_minute(time_ms)} UTC"
