"""``python -m bench run [ITEM ...] --out results.jsonl [--small]``, ``python -m bench check [results.jsonl]``, ``python -m bench list``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench.peaks import PEAKS
from bench.registry import items
from bench.runner import measure_here, run
from bench.table import failures, table


def main(arguments: list[str] | None = None) -> int:
    """The command; 0 fine, 1 when ``check`` finds a figure below its reach, 2 for words it does not know."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements with rivals, their reach beside them.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    go = verbs.add_parser("run", help="measure, one JSON line per item and tool")
    go.add_argument("items", nargs="*", metavar="ITEM", help="names or beginnings of names (all when none is given)")
    go.add_argument("--out", type=Path, default=Path("results.jsonl"))
    go.add_argument("--small", action="store_true", help="small sizes, once each, under a minute: shows that everything runs and agrees")
    go.add_argument("--record", action="store_true", help="remember this machine's peaks if they are the best so far")
    look = verbs.add_parser("check", help="list what is below its reach; exit code 1 when something is")
    look.add_argument("results", type=Path, nargs="?", default=Path("results.jsonl"))
    verbs.add_parser("list", help="names and subjects of the items")
    one = verbs.add_parser("one", help="one tool in this process (what run starts)")
    one.add_argument("item")
    one.add_argument("tool")
    one.add_argument("--small", action="store_true")
    given = parser.parse_args(arguments)
    if given.verb == "one":
        every = {**items(), **{item.name: item for item in PEAKS}}
        print(json.dumps(measure_here(every[given.item], given.tool, given.small)))
        return 0
    if given.verb == "list":
        for item in items().values():
            print(f"{item.name:<24} {item.about}")
        return 0
    return _run(given) if given.verb == "run" else _check(given.results)


def _run(given: argparse.Namespace) -> int:
    unknown = [n for n in given.items if not any(name.startswith(n) for name in items())]
    if unknown:
        print(f"no item begins with {', '.join(unknown)}: see python -m bench list", file=sys.stderr)
        return 2
    lines = []
    with given.out.open("w", encoding="utf-8") as file:
        for line in run(given.items, small=given.small, remember=given.record):
            lines.append(line)
            file.write(json.dumps(line) + "\n")
            file.flush()
            print(f"{line['item']} {line['tool']}: {line['value']} {line.get('unit', '')} {line.get('note', '')}", file=sys.stderr)
    print(table(lines))
    return 0


def _check(path: Path) -> int:
    if not path.exists():
        print(f"{path} is not there: python -m bench run --out {path} makes it", file=sys.stderr)
        return 2
    lines: list[dict[str, Any]] = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]
    found = failures(lines)
    print("\n".join(found) if found else "every figure that was judged is within its reach")
    open_ = [
        f"{line['item']} {line['tool']}: {line['note']}" for line in lines if line["ok"] is None and line.get("note") and line.get("reach")
    ]
    missing = [f"{line['item']} {line['tool']}: {line['note']}" for line in lines if line["value"] is None]
    for text in dict.fromkeys([*open_, *missing]):
        print(f"  ({text})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
