"""A tree as text and back: TOML with comments for people, JSON schema for editors."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, cast

from candelabra.config.build import build, nested_types, section_types
from candelabra.config.layers import from_text
from candelabra.config.tree import Config
from candelabra.config.words import about
from candelabra.models.registry import MODELS

if TYPE_CHECKING:
    from tomlkit.items import Array, Table

__all__ = ["from_toml", "json_schema", "template", "to_toml"]

_HEAD: Final = "Settings of candelabra. Precedence: defaults < this file < CANDELABRA_SECTION__KEY=... < --set section.key=..."


def to_toml(config: Config) -> str:
    """The whole tree, every key with a comment; `from_toml` reads an equal one back."""
    import tomlkit

    document = tomlkit.document()
    document.add(
        tomlkit.comment("Settings of candelabra. Precedence: defaults < this file < CANDELABRA_SECTION__KEY=... < --set section.key=...")
    )
    document.add(tomlkit.nl())
    values = config.as_dict()
    top = {key: value for key, value in values.items() if not isinstance(value, dict)}
    for key, value in top.items():
        document.add(key, _item(value, about(key)))
    for section, own in values.items():
        if section in top:
            continue
        document.add(tomlkit.nl())
        document.add(section, _table(section, own))
    return tomlkit.dumps(document)


def template(config: Config) -> str:
    """`to_toml` with every key commented out: a file to start from, in which ``size`` still sets what is not uncommented."""
    lines = to_toml(config).splitlines()
    return "".join(f"{'' if not line or line[0] in '#[' else '# '}{line}\n" for line in lines)


def from_toml(text: str, name: str = "the config") -> Config:
    """The tree a TOML text describes, defaults for what it leaves out; nothing else is read. UsageError naming key and line.

    >>> from_toml(to_toml(Config())) == Config()
    True
    """
    return build(from_text(text, name))


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of ``candelabra.toml``; ``model`` is one of the registered models' settings, told apart by ``name``."""
    from pydantic import TypeAdapter

    properties: dict[str, Any] = {}
    usual = Config().as_dict()
    for field in fields(Config):
        if field.name in section_types():
            continue
        properties[field.name] = TypeAdapter(_hints()[field.name]).json_schema()
    for name, cls in section_types().items():
        properties[name] = _models() if name == "model" else _object(name, cls, usual[name])
    for name, schema in properties.items():
        schema["description"] = about(name)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "candelabra.toml", "type": "object"}
    return schema | {"properties": properties, "additionalProperties": False}


def _hints() -> dict[str, Any]:
    from typing import get_type_hints

    return get_type_hints(Config)


def _object(section: str, cls: type, usual: dict[str, Any] | None = None) -> dict[str, Any]:
    """Of a section; ``usual``: its defaults in the tree, which need not be those of its class."""
    from pydantic import TypeAdapter

    schema: dict[str, Any] = TypeAdapter(cls).json_schema()
    schema.pop("$defs", None)
    for key, inner in nested_types(cls).items():
        schema["properties"][key] = _object(f"{section}.{key}", inner, (usual or {}).get(key))
    for key, own in schema.get("properties", {}).items():
        if usual is not None and "default" in own:
            own["default"] = usual[key]
        if words := about(f"{section}.{key}"):
            own["description"] = words
    return schema | {"additionalProperties": False}


def _models() -> dict[str, Any]:
    choices = []
    for entry in MODELS:
        if entry.name == "ensemble":
            continue
        schema = _object("model", MODELS.settings(entry.name))
        schema["properties"] = {"name": {"const": entry.name}} | schema.get("properties", {})
        choices.append(schema | {"title": entry.name, "description": entry.summary})
    return {"type": "object", "oneOf": choices}


def _table(section: str, values: dict[str, Any]) -> Table:
    """A section with its words; the sections within it come last, as TOML wants them."""
    import tomlkit

    table = tomlkit.table()
    if about(section):
        table.comment(about(section))
    for key, value in sorted(values.items(), key=lambda pair: isinstance(pair[1], dict)):
        name = f"{section}.{key}"
        if isinstance(value, dict):
            table.add(tomlkit.nl())
            table.add(key, _table(name, value))
        else:
            table.add(key, _item(value, about(name)))
    return table


def _item(value: Any, comment: str) -> Any:
    import tomlkit

    item = tomlkit.item("none" if value is None else value)
    if isinstance(value, list) and len(json.dumps(value)) > 100:
        cast("Array", item).multiline(True)
    elif comment:
        item.comment(comment)
    return item
