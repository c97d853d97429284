"""The sealed bundle: a folder with everything needed from raw candles to a forecast, and a hash of each file.

``bundle.json`` (this module), ``config.toml``, ``features.json``, ``calibration.json``, ``metrics.json``, ``CARD.md`` and
``parts/<model>/``
(JSON, safetensors, ONNX). No pickle anywhere. A bundle is written beside its place and moved there whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from candelabra.errors import BundleError

__all__ = ["FORMAT", "Manifest", "file_hashes", "model_names", "read_manifest", "seal"]

FORMAT: Final = 1
MANIFEST: Final = "bundle.json"


@dataclass(frozen=True)
class Manifest:
    """``bundle.json``: what the bundle is, what it was made from and what it needs.

    ``needs``: candles of each timeframe a forecast must have; ``recipe``: see `windows.recipe.Recipe`; ``feature_versions`` by
    timeframe: the
    arithmetic the features had; ``data``: per symbol the fingerprint and span of the candles; ``ranges``: the parts of the split
    (ms); ``plugins``: the packages that models of others came from, by model name; ``files``: sha256 of every other file.
    """

    id: str
    model: str
    created_ms: int
    version: str
    symbols: tuple[str, ...]
    simulated: bool
    horizons: tuple[str, ...]
    needs: dict[str, int]
    recipe: dict[str, Any]
    feature_versions: dict[str, str]
    data: dict[str, dict[str, Any]]
    ranges: dict[str, tuple[int, int]]
    libraries: dict[str, str]
    seed: int
    trials: int = 1
    plugins: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT
    files: dict[str, str] = field(default_factory=dict)


def file_hashes(folder: Path) -> dict[str, str]:
    """sha256 of every file of a bundle but its manifest, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).as_posix() != MANIFEST:
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def seal(draft: Path, place: Path, values: Mapping[str, Any]) -> Manifest:
    """Turn the folder ``draft`` into the bundle ``place``: hash every file, write the manifest, move it there whole.

    ``values``: the fields of `Manifest` except ``id``, ``format`` and ``files``; the id is the hash of all file hashes.
    BundleError when something is already at ``place``.
    """
    if place.exists():
        raise BundleError(f"{place} already exists and a sealed bundle is never changed: choose another folder or remove it")
    files = file_hashes(draft)
    identity = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
    manifest = Manifest(**({"plugins": _plugins(model_names(draft))} | dict(values) | {"id": identity, "files": files}))
    (draft / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for path in draft.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(draft, place)
    return manifest


def model_names(folder: Path) -> list[str]:
    """Names of all models saved in a folder and below it, sorted: the model, its members, its anchors."""
    found = set()
    for path in folder.rglob("model.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # whoever loads that part says what is wrong with it
            found.add(str(json.loads(path.read_text(encoding="utf-8"))["model"]))
    return sorted(found)


def _plugins(models: Sequence[str]) -> dict[str, str]:
    """Which installed package, with its version, brought a model that is not built in."""
    found = {}
    for point in metadata.entry_points(group="candelabra.model"):
        name = getattr(point.load(), "name", point.name)
        if name in models and point.dist is not None:
            found[name] = f"{point.dist.name} {point.dist.version}"
    return found


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of a bundle; BundleError when there is none, it is damaged, or of a format this version does not read."""
    path = bundle / MANIFEST
    if not path.is_file():
        raise BundleError(f"{bundle} is not a bundle: it has no {MANIFEST}; give the bundle folder of a run, e.g. runs/<run>/bundle")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise BundleError(f"{bundle} has format {values['format']}, this version reads {FORMAT}: use the candelabra that made it")
        for name in ("symbols", "horizons"):
            values[name] = tuple(values[name])
        values["ranges"] = {k: (int(a), int(b)) for k, (a, b) in values["ranges"].items()}
        return Manifest(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}): restore the sealed bundle or train again") from error
