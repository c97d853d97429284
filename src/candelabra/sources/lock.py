"""One writer at a time in a folder: a lock the kernel gives back when its owner dies, and a note of who has it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from candelabra.candles.frame import format_time
from candelabra.errors import SourceError

__all__ = ["holder", "writing"]

_NAME: Final = "lock"
_PATIENCE_S: Final = 0.7
"""How long to wait for another writer: an append takes milliseconds, and a refusal must come within a second."""

_held: set[int] = set()
"""Open locks of this process: a forked child would keep them locked after its parent has gone."""


@contextlib.contextmanager
def writing(folder: Path, what: str, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Be the only writer in ``folder``; SourceError (retryable) that names the owner when another stays longer than ``patience_s``.

    The lock is ``flock``'s: whatever way the owner ends, `kill -9` too, the kernel frees it, so nobody has to guess from a
    number whether a process still lives. The file's text only tells people who it is. The file stays; removing it would let two
    writers lock two files of one name.
    """
    try:
        handle = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise SourceError(f"cannot write in {folder}: {error.strerror or error}; check the disk and the folder's rights") from error
    _held.add(handle)
    try:
        _acquired(handle, folder, what, patience_s)
        owner = {"process": os.getpid(), "command": Path(sys.argv[0] or "python").name, "since_ms": int(time.time() * 1000)}
        with contextlib.suppress(OSError):  # a full disk must not stop whoever frees space
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(owner).encode(), 0)
        yield
    finally:
        if handle in _held:  # not in a child forked meanwhile
            _held.discard(handle)
            os.close(handle)


def holder(folder: Path) -> str:
    """Who wrote, or writes, in ``folder``, in words."""
    try:
        owner = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        return f"process {int(owner['process'])} ({owner['command']}, since {format_time(int(owner['since_ms']))} UTC)"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _acquired(handle: int, folder: Path, what: str, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise SourceError(
                    f"{what} is being written by {holder(folder)}: there is one writer at a time; try again when it has done, or end it",
                    retryable=True,
                ) from None
        except OSError as error:
            raise SourceError(
                f"{folder} cannot be locked ({error.strerror or error}): keep the store on a disk that has file locks"
            ) from error
        time.sleep(0.01)


def _free_in_child() -> None:
    for handle in _held:
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


os.register_at_fork(after_in_child=_free_in_child)
