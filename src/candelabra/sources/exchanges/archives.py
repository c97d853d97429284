"""Where archives lie: a folder on the disk, or an address on the web that is asked politely."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Protocol

from candelabra.errors import MissingExtraError, SourceError, UsageError
from candelabra.sources.exchanges.answers import Heard
from candelabra.sources.exchanges.faults import by_status
from candelabra.sources.exchanges.pace import Pace, Patience, persist

__all__ = ["FolderPlace", "Place", "WebPlace", "place_of"]

_CALLS_PER_SECOND: Final = 20.0
_TIMEOUT_S: Final = 60.0


class Place(Protocol):
    """Files by their path in the tree; ``remote``: another try may bring other bytes."""

    remote: bool

    async def get(self, path: str) -> bytes | None:
        """The bytes of a file; None when it is not there. SourceError when nobody answers."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def place_of(text: str) -> Place:
    """A place from an address (``https://data.binance.vision``) or a folder; UsageError when it is neither."""
    if text.startswith(("http://", "https://")):
        return WebPlace(text)
    folder = Path(text)
    if not folder.is_dir():
        raise UsageError(f"{text} is neither a folder nor an address: give the folder of the archives, or https://data.binance.vision")
    return FolderPlace(folder)


class FolderPlace:
    """The tree as Binance Vision has it, or the same files side by side in one folder."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, path: str) -> bytes | None:
        """See `Place`."""
        for place in (self._folder / path, self._folder / path.removeprefix("data/"), self._folder / Path(path).name):
            if place.is_file():
                try:
                    return await asyncio.to_thread(place.read_bytes)
                except OSError as error:
                    raise SourceError(f"cannot read {place}: {error.strerror or error}; check the disk and the file's rights") from error
        return None

    async def close(self) -> None:
        """Nothing to let go of."""


class WebPlace:
    """The tree under an address; a few requests at once, paced, tried again when the line breaks."""

    remote = True

    def __init__(self, base: str, patience: Patience | None = None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("httpx", "exchanges", "archives from the web") from error
        self._httpx: Any = httpx
        self._base, self._patience = base.rstrip("/"), patience or Patience()
        self.pace = Pace(self._base, 1.0 / _CALLS_PER_SECOND)
        self._few = asyncio.Semaphore(4)
        self._client: Any = None

    async def get(self, path: str) -> bytes | None:
        """See `Place`."""
        async with self._few:
            return await persist(lambda: self._get(path), self._patience)

    async def close(self) -> None:
        """Let go of connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _get(self, path: str) -> bytes | None:
        await self.pace.turn()
        if self._client is None:
            self._client = self._httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=True)
        try:
            answer = await self._client.get(f"{self._base}/{path}")
        except (self._httpx.HTTPError, OSError) as error:
            raise SourceError(f"{self._base}/{path}: the line broke ({type(error).__name__}: {error})", retryable=True) from error
        if answer.status_code == 404:
            return None
        heard = Heard(answer.status_code, {k.lower(): v for k, v in answer.headers.items()})
        refused = by_status(heard, self.pace, path, f"status {heard.status}")
        if refused is not None:
            raise refused
        if answer.status_code != 200:
            raise SourceError(f"{self._base}/{path}: status {answer.status_code}; is this the address of the archives?")
        return bytes(answer.content)
