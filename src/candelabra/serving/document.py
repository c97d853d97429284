"""The description of the service for programs (OpenAPI) and the same for people: one page without scripts, so that no network is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec

from candelabra.candles.timeframe import Timeframe
from candelabra.serving.answers import BundleAnswer, ForecastAnswer, Health, PredictAnswer
from candelabra.serving.bodies import ForecastBody, PredictBody
from candelabra.serving.refusals import ErrorAnswer

__all__ = ["body_of", "components", "examples", "page", "responses"]

_ERRORS = {
    400: "not JSON, or asked under a name that is not this machine's",
    408: "the body did not come in time",
    413: "the body is too large",
    415: "the body is not sent as application/json",
    422: "JSON that cannot be: what was got, why not, and what to do",
    503: "too many forecasts wait; Retry-After says how long",
}


def components() -> dict[str, Any]:
    """Schemas of all bodies and answers."""
    kinds = (ForecastBody, PredictBody, ForecastAnswer, PredictAnswer, Health, BundleAnswer, ErrorAnswer)
    return msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")[1]


def examples(bundle: BundleAnswer, finest: Timeframe) -> dict[str, dict[str, Any]]:
    """Bodies for this bundle, shortened to two bars of the ``finest`` timeframe that it is made of."""
    first = int(finest.floor(1_700_000_000_000))
    rows = [[first, 100.0, 102.0, 99.5, 101.0, 12.5], [int(finest.next(first)), 101.0, 101.5, 100.0, 100.5, 9.0]]
    names = ("open_time", "open", "high", "low", "close", "volume")
    columns = {name: [row[k] for row in rows] for k, name in enumerate(names)}
    width = len(bundle.sequence.features) if bundle.sequence else 3
    symbol = bundle.symbols[0] if bundle.symbols else "BTC/USDT"
    forecast = {
        "columns": {"summary": "columns, shortened", "value": {"symbol": symbol, "candles": {finest.name: columns}}},
        "rows": {"summary": "rows, as exchanges give them, shortened", "value": {"symbol": symbol, "candles": {finest.name: rows}}},
    }
    sequence = {"sequence": [[0.1] * width, [-0.2] * width]}
    predict = {
        "return": {"summary": "a return, shortened", "value": sequence},
        "close": {"summary": "a close, shortened", "value": sequence | {"last_close": 100.5, "volatility": 0.006}},
    }
    return {"forecast": forecast, "predict": predict}


def body_of(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """The ``openapi_extra`` of a route that reads its body raw."""
    content = {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}, "examples": dict(given)}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def responses(kind: type, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route."""
    found: dict[int | str, dict[str, Any]] = {200: _answer(kind.__name__, "the answer")}
    return found | {status: _answer("ErrorAnswer", _ERRORS[status]) for status in errors}


def _answer(name: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}}


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2733;background:#fff}"
    "h1{font-size:1.5rem}h2{margin-top:2.2rem;font-size:1.1rem;border-top:1px solid #d5dce4;padding-top:1rem}"
    "code,pre{font:13px/1.45 ui-monospace,monospace}pre{background:#f4f6f8;padding:.7rem;overflow:auto;border-radius:4px}"
    "b{display:inline-block;min-width:3.2rem;color:#0b6bcb}table{border-collapse:collapse}td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
    "@media(prefers-color-scheme:dark){body{background:#14191f;color:#dbe3ea}pre{background:#1e262f}h2{border-color:#33404c}b{color:#6db3f2}}"
)


def page(document: Mapping[str, Any]) -> str:
    """The OpenAPI document as a page of plain HTML."""
    parts = []
    for path, methods in document["paths"].items():
        for method, one in methods.items():
            parts.append(
                f"<h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2><p>{escape(one.get('description', one['summary']))}</p>"
            )
            content = one.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                text = json.dumps(example["value"])
                parts.append(f"<p>{escape(example['summary'])}:</p><pre>{escape(text if len(text) < 700 else text[:700] + ' ...')}</pre>")
            if "schema" in content:
                parts.append(_schema(content["schema"], document, "body"))
            parts.append(_schema(one["responses"]["200"]["content"]["application/json"]["schema"], document, "answer"))
            rows = (f"<tr><td>{status}</td><td>{escape(r['description'])}</td></tr>" for status, r in one["responses"].items())
            parts.append(f"<table>{''.join(rows)}</table>")
    title = escape(document["info"]["title"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style><h1>{title}</h1><p>{escape(document['info']['description'])} "
        f'For programs: <a href="/openapi.json">/openapi.json</a>.</p>{"".join(parts)}</html>'
    )


def _schema(reference: Mapping[str, str], document: Mapping[str, Any], what: str) -> str:
    name = reference["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][name]
    rows = "".join(
        f"<tr><td><code>{escape(key)}</code></td><td>{escape(_type(value))}</td></tr>" for key, value in schema["properties"].items()
    )
    return (
        f"<details><summary>{what}: {escape(name)}</summary><p>{escape(schema.get('description', ''))}</p><table>{rows}</table></details>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(s) for s in schema["anyOf"])
    if schema.get("type") == "array":
        items = schema.get("items")
        return f"list of {_type(items)}" if items else "row"
    if schema.get("type") == "object" and "additionalProperties" in schema:
        return f"object of {_type(schema['additionalProperties'])}"
    return str(schema.get("type", "value")) + (f", {schema['description']}" if "description" in schema else "")
