"""Files that are there whole or not at all: temporary file beside the place, sync, rename, sync of the folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from candelabra.errors import SourceError

__all__ = ["PART", "place", "sync_folder", "temporary_beside", "write_atomically"]

PART = ".part"
"""The ending of temporary files, which also begin with a dot: whatever is left of a writer that was killed."""


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that a reader, a crash or a full disk never meets half of it; SourceError when the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(path, error) from error
    place({path: temporary_beside(path, data)})


def temporary_beside(path: Path, data: bytes | memoryview) -> Path:
    """``data`` on the disk (synced) in a file of a unique name beside ``path``; SourceError, and no such file, when the disk refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{PART}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _refused(path, error) from error
    return temporary


def place(temporaries: dict[Path, Path]) -> None:
    """Rename temporary files to their places, each at once, and sync the folders; SourceError when the disk refuses."""
    try:
        for path, temporary in temporaries.items():
            os.replace(temporary, path)
        for folder in {path.parent for path in temporaries}:
            sync_folder(folder)
    except OSError as error:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
        raise _refused(next(iter(temporaries)), error) from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: a rename that only memory knows does not outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(path: Path, error: OSError) -> SourceError:
    why = error.strerror or str(error)
    return SourceError(f"cannot write {path}: {why}; nothing was changed, what was there is kept: free space or choose another folder")
