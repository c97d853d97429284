"""From values with places to a checked `Config`: types by pydantic, names by the registries, every refusal with key and place."""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from candelabra.config.layers import FILE_NAME, Layer, Words, from_assignments, from_environment, from_file, merged
from candelabra.config.tree import Config, ModelSection
from candelabra.errors import UsageError
from candelabra.features.catalog import parse
from candelabra.models.registry import MODELS
from candelabra.models.settings import ArmsSettings, Gpt2Settings, Size, sized
from candelabra.registry import did_you_mean

__all__ = ["SIZE_REGIMES", "SIZE_TRAINING", "configure", "known_keys", "load", "nested_types", "section_types"]

SIZE_TRAINING: Final[dict[Size, dict[str, int]]] = {
    "tiny": {"steps": 150, "sequence_length": 192, "evaluate_every": 15, "warmup_steps": 15, "patience": 5},
    "small": {},
    "base": {"steps": 3000},
}
"""What the size dial changes in ``training``; `models.settings.SIZES` says what it changes in ``model``."""

SIZE_REGIMES: Final[dict[Size, dict[str, dict[str, int]]]] = {
    "tiny": {
        "network": {"width": 16, "layers": 6},
        "transformer": {"width": 16, "layers": 2, "heads": 2},
        "training": {"steps": 60, "sequence_length": 512},
    },
    "small": {},
    "base": {"training": {"steps": 300, "seeds": 3}},
}
"""What the size dial changes in ``regimes``."""

_SCALARS: Final = ("seed", "size", "baselines")
_TRIES: Final = "did you mean"


def load(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    assignments: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    folder: Path | None = None,
) -> Config:
    """The resolved tree: defaults < ``file`` < ``environment`` < ``values`` < ``assignments`` (``a.b=c`` texts).

    ``file`` None: ``candelabra.toml`` in ``folder`` (default: the working folder) when there is one; ``environment`` None: the
    process's own; ``values`` by dotted key (arguments of a command). Raises UsageError naming key and place.
    """
    layers: list[Layer] = []
    usual = (folder or Path()) / FILE_NAME
    if file is not None or usual.exists():
        layers.append(from_file(file or usual))
    layers.append(from_environment(os.environ if environment is None else environment))
    layers.append({key: (value, "") for key, value in (values or {}).items()})
    layers.append(from_assignments(assignments))
    return build(merged(layers))


def configure(values: Mapping[str, Any] | None = None, **others: Any) -> Config:
    """A tree from values by dotted key (or by name for the top ones); what is not given is default for its ``size``.

    >>> configure({"model.width": 64}, size="tiny").model.settings.width
    64
    >>> configure({"training.stepz": 3})
    Traceback (most recent call last):
    ...
    candelabra.errors.UsageError: unknown setting training.stepz: did you mean "training.steps"?
    """
    return build({key: (value, "") for key, value in {**(values or {}), **others}.items()})


def build(layer: Layer) -> Config:
    """A checked tree from merged layers."""
    model, settings_class = _model_class(layer)
    _refuse_unknown(layer, settings_class)
    size = _scalar(layer, "size", Size)
    tuned = sized(settings_class(), size) if settings_class in (ArmsSettings, Gpt2Settings) else settings_class()
    sections: dict[str, Any] = {}
    for name, cls in section_types().items():
        if name == "model":
            sections[name] = ModelSection(model, _section(layer, name, settings_class, asdict(tuned)))
            continue
        default = asdict(getattr(Config(), name))
        if name == "training":
            default |= SIZE_TRAINING[size]
        if name == "ensemble":
            default["members"] = list(dict.fromkeys((model, "harx_lightgbm")))
        if name == "regimes":
            default |= {inner: default[inner] | own for inner, own in SIZE_REGIMES[size].items()}
        sections[name] = _section(layer, name, cls, default)
    seed = _scalar(layer, "seed", int)
    if seed < 0:
        raise UsageError(f"seed = {seed}{_at(layer, 'seed')}: a whole number of 0 or more is needed")
    config = Config(seed=seed, size=size, baselines=_scalar(layer, "baselines", tuple[str, ...]), **sections)
    _check_names(config, layer)
    return config


def section_types() -> dict[str, type]:
    """The sections of the tree and their classes (``model``: the class that holds its name and settings)."""
    return {name: cls for name, cls in get_type_hints(Config).items() if name not in _SCALARS}


def known_keys(settings_class: type = ArmsSettings) -> list[str]:
    """Every dotted key there is, with ``settings_class`` for the model's own."""
    keys = list(_SCALARS)
    for name, cls in section_types().items():
        if name == "model":
            keys += ["model.name", *(f"model.{f.name}" for f in fields(settings_class))]
        else:
            keys += _keys(name, cls)
    return keys


def nested_types(cls: type) -> dict[str, type]:
    """The sections within a section: its fields that are dataclasses themselves."""
    return {name: hint for name, hint in get_type_hints(cls).items() if isinstance(hint, type) and is_dataclass(hint)}


def _keys(section: str, cls: type) -> list[str]:
    inner, keys = nested_types(cls), []
    for field in fields(cls):
        key = f"{section}.{field.name}"
        keys += _keys(key, inner[field.name]) if field.name in inner else [key]
    return keys


def _model_class(layer: Layer) -> tuple[str, type]:
    name = layer.get("model.name", ("arms", ""))[0]
    if not isinstance(name, str):
        raise UsageError(f"model.name = {name!r}{_at(layer, 'model.name')}: {did_you_mean('', MODELS.names())}")
    name = str(name).strip("\"'")
    if name == "ensemble":
        raise UsageError(
            f'model.name = "ensemble"{_at(layer, "model.name")}: the ensemble is made of the model and others; '
            "name its parts in ensemble.members"
        )
    try:
        return name, MODELS.settings(name)
    except UsageError as error:
        raise UsageError(f"model.name = {name!r}{_at(layer, 'model.name')}: {error}") from None


def _refuse_unknown(layer: Layer, settings_class: type) -> None:
    known = known_keys(settings_class)
    sections = {key.rpartition(".")[0] for key in known}
    problems = []
    for key, (value, _) in layer.items():
        if key in known or (key in sections and value == {}):
            continue
        if key in sections:
            problems.append(f"{key} = {value!r}{_at(layer, key)}: {key} is a section; set one of its keys, as in {_first(known, key)}")
        elif any(key.startswith(f"{k}.") for k in known):
            owner = next(k for k in known if key.startswith(f"{k}."))
            problems.append(f"unknown setting {key}{_at(layer, key)}: {owner} is one value, not a section")
        else:
            problems.append(f"unknown setting {key}{_at(layer, key)}: {_nearest(key, known)}")
    if problems:
        raise UsageError("\n".join(problems))


def _nearest(key: str, known: list[str]) -> str:
    hint = did_you_mean(key, known)
    section = key.partition(".")[0]
    inside = [k for k in known if k.startswith(f"{section}.")]
    if hint.startswith(_TRIES) or not inside:
        return hint if hint.startswith(_TRIES) else "known: " + ", ".join([*_SCALARS, *(f"{n}.*" for n in section_types())])
    return did_you_mean(key, inside)


def _first(known: list[str], section: str) -> str:
    return next(k for k in known if k.startswith(f"{section}."))


def _section(layer: Layer, section: str, cls: type, default: dict[str, Any]) -> Any:
    """One section: its defaults under the given values, types checked, then the section's own rules; first the sections within it."""
    hints, values = get_type_hints(cls), dict(default)
    nested = nested_types(cls) if section != "model" else {}
    for name, inner in nested.items():
        values[name] = asdict(_section(layer, f"{section}.{name}", inner, values[name]))
    for key, (value, _) in layer.items():
        above, _, name = key.rpartition(".")
        if above == section and name in hints and name not in nested and not (section == "model" and name == "name"):
            values[name] = _typed(value, hints[name])
    return _validated(layer, section, cls, values)


def _scalar(layer: Layer, key: str, hint: Any) -> Any:
    value = layer[key][0] if key in layer else getattr(Config(), key)
    return _validated(layer, key, hint, _typed(value, hint))


def _validated(layer: Layer, section: str, cls: Any, values: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    for name, value in values.items() if isinstance(values, dict) else ():
        if any(isinstance(v, float) and not math.isfinite(v) for v in (value if isinstance(value, list | tuple) else (value,))):
            raise UsageError(f"{section}.{name} = {value!r}{_at(layer, f'{section}.{name}')}: a finite number is needed")
    adapter: TypeAdapter[Any] = TypeAdapter(cls)
    try:
        return adapter.validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise UsageError("\n".join(_refusal(layer, section, e) for e in error.errors())) from None
    except UsageError as error:
        above, _, own = section.rpartition(".")
        words = f"{above}.{error}" if above and str(error).startswith(f"{own}.") else str(error)
        words = words if not above or words.startswith(f"{section}.") else f"{section}: {words}"
        raise UsageError(f"{words}{_places(layer, section, words)}") from None


_NEEDED: Final = {
    "int": "a whole number is needed",
    "float": "a number is needed",
    "bool": "true or false is needed",
    "string": "text in quotes is needed",
    "tuple": 'a list is needed, as in ["1h", "24h"]',
    "list": 'a list is needed, as in ["1h", "24h"]',
}


def _refusal(layer: Layer, section: str, error: Any) -> str:
    """One pydantic error in words: key, value, place, what is needed."""
    inside = [str(part) for part in error["loc"]]
    key = ".".join([section, *inside[:1]])
    item = f" (item {int(inside[1]) + 1})" if len(inside) > 1 and inside[1].isdigit() else ""
    if error["type"] == "literal_error":
        choices = [c.strip(" '") for c in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        hint = did_you_mean(str(error["input"]), choices)
        needed = f"choose one of {', '.join(choices)}" + (f" ({hint})" if hint.startswith(_TRIES) else "")
    else:
        needed = next((text for start, text in _NEEDED.items() if error["type"].startswith(start)), error["msg"])
    return f"{key} = {error['input']!r}{item}{_at(layer, key)}: {needed}"


def _at(layer: Layer, key: str) -> str:
    place = layer[key][1] if key in layer else ""
    return f" ({place})" if place else ""


def _places(layer: Layer, section: str, message: str) -> str:
    """Where the keys of a section that a message is about were set: the ones it names, or all of them."""
    own = {key: place for key, (_, place) in layer.items() if place and key.startswith(f"{section}.")}
    named = {key: place for key, place in own.items() if key in message}
    places = list(dict.fromkeys((named or own).values()))
    return f" ({'; '.join(places[:3])})" if places else ""


def _typed(value: Any, hint: Any) -> Any:
    """A value as its type wants it: typed words are read, lists in words are split, "none" is None where None may be."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType) and NoneType in arguments:
        if isinstance(value, str) and value.strip().lower() == "none":
            return None
        return _typed(value, next(a for a in arguments if a is not NoneType))
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, Words):
        return value
    text = str(value)
    if origin in (tuple, list):
        items = _toml(text) if text.startswith("[") else [Words(item) for item in _split(text)]
        return [_typed(item, arguments[0]) for item in items] if isinstance(items, list) else text
    if hint is str or origin is Literal:
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    if hint in (int, float):
        try:
            return hint(text)
        except ValueError:
            return text
    return _toml(text)


def _toml(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _split(text: str) -> Iterable[str]:
    """Parts between commas outside parentheses: ``rsi(14),macd(12,26,9)`` is two."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def _check_names(config: Config, layer: Layer) -> None:
    """What only the whole tree can tell: timeframes and horizons fit together, features and models exist."""
    try:
        config.recipe()
    except UsageError as error:
        raise UsageError(f"{error}{_places(layer, 'timeframes', str(error)) or _places(layer, 'windows', str(error))}") from None
    for role in ("base", "coarse", "fine"):
        for spec in getattr(config.features, role):
            try:
                parse(spec)
            except UsageError as error:
                raise UsageError(f"features.{role}{_at(layer, f'features.{role}')}: {error}") from None
    for key, names in (("ensemble.members", config.ensemble.members), ("baselines", config.baselines)):
        for name in names:
            known = [n for n in MODELS.names() if n != "ensemble"]
            if name not in known:
                raise UsageError(f"{key}{_at(layer, key)}: unknown model {name!r}: {did_you_mean(name, known)}")
