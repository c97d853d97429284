"""`Certificate`: what was audited, how hard, on which data and by which code, and what came of it; ``causality.json`` in a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

from candelabra.errors import BundleError
from candelabra.evaluation.findings import Audit, Finding

__all__ = ["CERTIFICATE_FILE", "Certificate", "certify", "package_fingerprint"]

CERTIFICATE_FILE: Final = "causality.json"
_FORMAT: Final = 1
_LIBRARIES: Final = ("numpy", "TA-Lib", "numba", "torch", "onnxruntime", "lightgbm")


@dataclass(frozen=True)
class Certificate:
    """Audits, and what they ran with: ``version`` and ``code`` (sha256 of candelabra's own source), ``libraries``, ``data``.

    ``data``: fingerprints of candles by name. Nothing in it depends on the clock: the same code, data and seed give the same bytes.
    """

    audits: tuple[Audit, ...]
    version: str = ""
    code: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no audit found anything."""
        return all(a.passed for a in self.audits)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings."""
        return tuple(f for a in self.audits for f in a.findings)

    @property
    def runs(self) -> int:
        """How many disturbed runs there were."""
        return sum(sum(a.tried.values()) for a in self.audits)

    @property
    def summary(self) -> str:
        """One sentence."""
        what = f"{len(self.audits)} subject{'' if len(self.audits) == 1 else 's'} in {self.runs:,} disturbed runs"
        if self.passed:
            return f"no leak, nothing stale, nothing that differs in a stream: {what}"
        count = len(self.findings)
        return f"{count} finding{'' if count == 1 else 's'} in {what}"

    def to_json(self) -> str:
        """JSON text; `from_json` gives the same certificate back."""
        values = {
            "format": _FORMAT,
            "passed": self.passed,
            "summary": self.summary,
            "version": self.version,
            "code": self.code,
            "libraries": dict(self.libraries),
            "data": dict(self.data),
            "audits": [a.to_dict() for a in self.audits],
        }
        return json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """Read what `to_json` wrote; BundleError for anything else."""
        try:
            values = json.loads(text)
            if values["format"] != _FORMAT:
                raise BundleError(f"a causality certificate of format {values['format']}; this version reads {_FORMAT}: audit again")
            audits = tuple(Audit.from_dict(a) for a in values["audits"])
            return cls(audits, values["version"], values["code"], values["libraries"], values["data"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"this is not a causality certificate ({error!r}): audit the bundle again") from error

    @classmethod
    def load(cls, bundle: Path) -> Certificate | None:
        """The certificate in a bundle; None for a bundle without one, BundleError for a damaged one."""
        path = bundle / CERTIFICATE_FILE
        return cls.from_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def certify(audits: Sequence[Audit], data: Mapping[str, str], version: str) -> Certificate:
    """A certificate of these audits, made by this installation (candelabra ``version``)."""
    there = {}
    for name in _LIBRARIES:
        try:
            there[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an extra that this installation does without
            continue
    return Certificate(tuple(audits), version, package_fingerprint(), there, dict(data))


@cache
def package_fingerprint() -> str:
    """sha256 over every source file of candelabra, by name and content."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()
