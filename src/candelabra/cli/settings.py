"""``config``: show what is in force, describe what can be set, write a file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from candelabra.cli.console import emit_json, err
from candelabra.cli.options import AsJson, Assignments, ConfigFile, Size
from candelabra.cli.options import settings as resolve
from candelabra.errors import UsageError

__all__ = ["app"]

app = typer.Typer(help="Settings: show, schema, init.", no_args_is_help=True)


@app.command()
def show(config: ConfigFile = None, assignments: Assignments = None, size: Size = None, as_json: AsJson = False) -> int:
    """Print the settings in force as TOML: defaults < candelabra.toml < CANDELABRA_SECTION__KEY < --set."""
    from candelabra.config.text import to_toml
    from candelabra.config.tree import config_hash

    tree = resolve(config, assignments, size=size)
    if as_json:
        emit_json("config show", {"hash": config_hash(tree), "config": tree.as_dict()})
    else:
        print(to_toml(tree), end="")
    return 0


@app.command()
def schema(as_json: AsJson = False) -> int:
    """Print the JSON Schema of candelabra.toml (for editors)."""
    import json

    from candelabra.cli.console import plain
    from candelabra.config.text import json_schema

    print(json.dumps(plain(json_schema()), indent=2))
    return 0


@app.command()
def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("candelabra.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that is there.")] = False,
    as_json: AsJson = False,
) -> int:
    """Write a candelabra.toml with every setting, its default and what it means, all commented out."""
    from candelabra.config.text import template
    from candelabra.config.tree import Config

    if path.is_dir():
        path = path / "candelabra.toml"
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}: create it first")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(template(Config()))
    except FileExistsError:
        raise UsageError(f"{path} is there already and was left as it is: name another file, or overwrite it with --force") from None
    if as_json:
        emit_json("config init", {"path": str(path)})
    else:
        print(path)
        err().print(f"every setting is in {path}, commented out: uncomment what you change, then `candelabra config show`")
    return 0
