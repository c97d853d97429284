"""Where settings come from: a TOML file, the environment, the command line; each value remembers its place.

Environment: ``CANDELABRA_`` and the key in capitals, sections parted by two underscores: ``CANDELABRA_TRAINING__STEPS=300``,
``CANDELABRA_SEED=1``, ``CANDELABRA_MODEL__NAME=gpt2``. Lists are written with commas or as in TOML.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from candelabra.errors import UsageError
from candelabra.registry import did_you_mean

__all__ = ["FILE_NAME", "Layer", "from_assignments", "from_environment", "from_file", "from_text", "merged"]

FILE_NAME: Final = "candelabra.toml"
PREFIX: Final = "CANDELABRA_"
_TOP_KEYS: Final = ("SEED", "SIZE", "BASELINES")

Layer = dict[str, tuple[Any, str]]
"""Values by dotted key, each with the place it came from, for messages. Text from the environment or ``--set`` is `Words`."""


class Words(str):
    """Text as a person typed it, whose type is known only when its key is (``3`` may be a number, a name or a list of one)."""


def from_file(path: Path) -> Layer:
    """The settings of a TOML file; UsageError when it cannot be opened or read."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = [p.name for p in path.parent.iterdir() if p.suffix == ".toml"] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near) if near else "write one with `candelabra config init`"
        raise UsageError(f"there is no config file {path}: {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the config file {path}: {error}") from error
    return from_text(text, str(path))


def from_text(text: str, name: str) -> Layer:
    """The settings of a TOML text; ``name`` is what it is called in messages."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{name} is not valid TOML: {error}") from error
    lines = _lines(text)
    return {key: (value, f"{name}, line {lines[key]}" if key in lines else name) for key, value in _flat(values)}


def from_environment(environment: Mapping[str, str]) -> Layer:
    """The settings among environment variables; UsageError for one that is nearly a setting's name."""
    layer: Layer = {}
    for name, value in sorted(environment.items()):
        if not name.startswith(PREFIX):
            continue
        rest = name.removeprefix(PREFIX)
        if "__" in rest or rest in _TOP_KEYS:
            layer[rest.lower().replace("__", ".")] = (Words(value), f"environment variable {name}")
        elif near := difflib.get_close_matches(rest, _TOP_KEYS, n=1, cutoff=0.75):
            raise UsageError(f"the environment variable {name} is no setting: did you mean {PREFIX}{near[0]}?")
    return layer


def from_assignments(assignments: Iterable[str]) -> Layer:
    """The settings of ``a.b=c`` texts, as given to ``--set``."""
    layer: Layer = {}
    for text in assignments:
        key, sign, value = text.partition("=")
        key = key.strip()
        if not sign or not re.fullmatch(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*", key):
            raise UsageError(f"--set {text}: write a key, an equals sign and a value, as in --set training.steps=300")
        layer[key] = (Words(value.strip()), f"--set {text}")
    return layer


def merged(layers: Iterable[Layer]) -> Layer:
    """Later layers over earlier ones, key by key."""
    values: Layer = {}
    for layer in layers:
        values |= layer
    return values


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{above}{key}"
        found += _flat(value, f"{name}.") if isinstance(value, dict) and value else [(name, value)]
    return found


def _lines(text: str) -> dict[str, int]:
    """Line numbers of plain ``key = value`` lines by dotted key (a quoted key or one inside an inline table is not found)."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[\s*([\w.\-]+)\s*\]", line):
            table = f"{head[1]}."
            found.setdefault(head[1], number)
        elif key := re.match(r"\s*([\w.\-]+)\s*=", line):
            found.setdefault(f"{table}{key[1]}", number)
    return found
