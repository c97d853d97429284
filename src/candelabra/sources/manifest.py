"""The manifest of a stored series: which month files it has and what each must hash to, sealed by a hash of its own."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from candelabra.disk import write_atomically
from candelabra.errors import DataError, SourceError
from candelabra.sources.month_files import MonthFile, month_span

__all__ = ["MANIFEST", "Manifest", "read_manifest", "write_manifest"]

MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1


@dataclass(frozen=True)
class Manifest:
    """What a series is and what its files are.

    ``tail`` names the tail database that belongs to it; ``files`` by month (``YYYY-MM``); ``pending`` announces the file that is
    about to take a month's place: between that announcement and the next manifest the month may be either, so that a writer can
    be killed at any instant.
    """

    exchange: str
    symbol: str
    timeframe: str
    simulated: bool
    tail: str
    files: dict[str, MonthFile] = field(default_factory=dict)
    pending: dict[str, MonthFile] = field(default_factory=dict)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in its place, whole or not at all; SourceError when the disk refuses."""
    body = asdict(manifest) | {"format": _FORMAT}
    write_atomically(folder / MANIFEST, (json.dumps(body | {"seal": _seal(body)}, indent=1, sort_keys=True) + "\n").encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a series; DataError when it is missing, damaged by one bit, or of a format this version does not read."""
    path = folder / MANIFEST
    try:
        body: dict[str, Any] = json.loads(path.read_bytes())
        if body.pop("seal") != _seal(body):
            raise ValueError("its content does not fit its seal")
        if body["format"] != _FORMAT:
            raise DataError(f"{path} has format {body['format']}, this version reads {_FORMAT}: use the candelabra that wrote it")
        del body["format"]
        for part in ("files", "pending"):
            body[part] = {month: MonthFile(**entry) for month, entry in body[part].items()}
            for month in body[part]:
                month_span(month)
        return Manifest(**body)
    except FileNotFoundError as error:
        raise DataError(f"{folder} has no {MANIFEST}, so it holds no series, or lost it: `candelabra store repair` rebuilds it") from error
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}; check the disk and the file's rights") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}): `candelabra store repair` rebuilds it from the month files") from error


def _seal(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
