"""Whether a folder holds a pickle, under whatever name."""

from __future__ import annotations

import io
import pickletools
import zipfile
from pathlib import Path
from typing import Final

__all__ = ["pickles_in"]

_LARGEST: Final = 50_000_000  # opcodes of larger files are not walked: their first bytes tell
_MARKS: Final = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def pickles_in(folder: Path) -> list[str]:
    """Files of ``folder`` (relative paths) that are pickles, or archives with a pickle inside (what ``torch.save`` writes)."""
    return [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file() and _holds_pickle(path)]


def _holds_pickle(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return any(_is_pickle(archive.read(name)) for name in archive.namelist())
    return _is_pickle(path.read_bytes())


def _is_pickle(data: bytes) -> bool:
    if not data.startswith(_MARKS):
        return False
    try:
        for _ in pickletools.genops(io.BytesIO(data[:_LARGEST])):
            pass
    except ValueError:
        return len(data) > _LARGEST
    return True
