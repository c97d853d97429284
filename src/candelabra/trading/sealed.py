"""The rule that was chosen on validation, and its account, as they lie in a sealed bundle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from candelabra.errors import BundleError
from candelabra.trading.account import Account
from candelabra.trading.choice import Choice

__all__ = ["RULE_FILE", "plain_json", "read_rule", "write_rule"]

RULE_FILE: Final = "rule.json"


def write_rule(path: Path, choice: Choice, account: Account) -> None:
    """Write the chosen rule and the account it was chosen with."""
    path.write_bytes(plain_json({"choice": choice.as_dict(), "account": account.as_dict()}))


def read_rule(bundle: Path) -> tuple[Choice, Account]:
    """The rule sealed in a bundle and its account; BundleError when there is none."""
    path = bundle / RULE_FILE
    if not path.is_file():
        raise BundleError(f"{bundle} has no {RULE_FILE}: it was sealed before rules were; choose one with --rule choose, or name one")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Choice.of(values["choice"]), Account(**values["account"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path} is damaged ({error!r}): restore the sealed bundle") from error


def plain_json(values: Mapping[str, Any]) -> bytes:
    """JSON with null for what is not finite."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return (json.dumps(plain(values), indent=1, allow_nan=False) + "\n").encode()
