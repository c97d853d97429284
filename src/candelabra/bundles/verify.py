"""Whether a bundle is what was sealed, and how two bundles differ."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from candelabra.bundles.format import file_hashes, read_manifest
from candelabra.errors import BundleError

__all__ = ["Difference", "Finding", "diff", "require_sealed", "verify"]


@dataclass(frozen=True)
class Finding:
    """Something about a file of a bundle that is not as sealed."""

    file: str
    what: str


@dataclass(frozen=True)
class Difference:
    """One entry that two bundles, or a bundle and this installation, do not share."""

    key: str
    left: Any
    right: Any


def verify(bundle: Path) -> list[Finding]:
    """Files that are missing, changed or added since the bundle was sealed; empty when it is as it was."""
    sealed, now = read_manifest(bundle).files, file_hashes(bundle)
    findings = [Finding(name, "is missing") for name in sorted(sealed.keys() - now.keys())]
    findings += [Finding(name, "was added after sealing") for name in sorted(now.keys() - sealed.keys())]
    findings += [Finding(name, "was changed after sealing") for name in sorted(sealed.keys() & now.keys()) if sealed[name] != now[name]]
    return findings


def require_sealed(bundle: Path) -> None:
    """BundleError that names every file that is not as sealed."""
    findings = verify(bundle)
    if findings:
        listed = "; ".join(f"{f.file} {f.what}" for f in findings[:5]) + (f"; and {len(findings) - 5} more" if len(findings) > 5 else "")
        raise BundleError(f"{bundle} is not as it was sealed: {listed}. Restore it, or train again; nothing was computed")


def diff(left: Path, right: Path) -> list[Difference]:
    """Entries of two manifests that differ, nested keys joined by dots."""
    a, b = _flat(asdict(read_manifest(left))), _flat(asdict(read_manifest(right)))
    return [Difference(key, a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
