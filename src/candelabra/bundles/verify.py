"""Whether a bundle is what was sealed, and how two bundles differ."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from candelabra.bundles.format import Manifest, file_hashes, model_names, read_manifest
from candelabra.errors import BundleError
from candelabra.models.registry import MODELS

__all__ = ["Difference", "Finding", "diff", "require_models", "require_sealed", "verify"]


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


def require_models(manifest: Manifest, folder: Path) -> None:
    """BundleError when a model saved in ``folder`` or below it is not installed here: which one, and how it gets here."""
    absent = [name for name in model_names(folder) if name not in MODELS.names()]
    if not absent:
        return
    packages = sorted({manifest.plugins[name] for name in absent if name in manifest.plugins})
    if packages:
        way_out = f"it was made with {', '.join(packages)}: pip install {' '.join(p.replace(' ', '==') for p in packages)}"
    else:
        way_out = (
            "it comes from an extension, and the bundle does not say which: pip install that package here "
            "(an extension adds its models through the entry-point group candelabra.model)"
        )
    raise BundleError(f"the bundle {manifest.id} holds a model that is not installed here, {', '.join(map(repr, absent))}: {way_out}")


def diff(left: Path, right: Path) -> list[Difference]:
    """Settings (``settings.*``), then manifest entries, then file hashes (``files.*``) that differ; nested keys are joined by dots."""
    a, b = ({"settings": _settings(one)} | asdict(read_manifest(one)) for one in (left, right))
    a, b = _flat(a), _flat(b)

    def place(key: str) -> tuple[int, str]:
        return {"settings": 0, "files": 2}.get(key.partition(".")[0], 1), key

    return [Difference(key, a.get(key), b.get(key)) for key in sorted(a.keys() | b.keys(), key=place) if a.get(key) != b.get(key)]


def _settings(bundle: Path) -> dict[str, Any]:
    try:
        return tomllib.loads((bundle / "config.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # what is missing or damaged shows among the files


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = value
    return out
