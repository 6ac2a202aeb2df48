"""The pages of the server: its operations as a page without scripts from elsewhere, and the playground."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response

ASSETS = {"playground.js": "text/javascript", "playground.css": "text/css"}
_STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:0 auto;padding:1rem}
pre{background:#8882;padding:.6rem;overflow-x:auto}table{border-collapse:collapse;width:100%}
td{border-top:1px solid #8884;padding:.2rem .6rem .2rem 0;vertical-align:top}
td:last-child,h2,p{overflow-wrap:anywhere}
@media(max-width:40rem){tr{display:flex;flex-wrap:wrap;gap:0 .8rem;border-top:1px solid #8884;padding:.3rem 0}
td{border:0;padding:0}td:last-child{flex:1 0 100%}}
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}a{color:#8bf}}"""


def add_pages(app: FastAPI, playground: bool) -> None:
    """Adds `/docs`, and with the playground `/` and its files."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()))

    if not playground:
        return

    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_asset("playground.html"))

    for name, kind in ASSETS.items():
        _add_asset(app, name, kind)


def _add_asset(app: FastAPI, name: str, kind: str) -> None:
    async def asset() -> Response:
        return Response(_asset(name), media_type=kind)

    app.add_api_route(f"/assets/{name}", asset, include_in_schema=False)


def _asset(name: str) -> str:
    return files("t5vqvae.serving").joinpath("assets", name).read_text(encoding="utf-8")


def docs_page(schema: Mapping[str, Any]) -> str:
    """Returns an OpenAPI schema as a page that needs nothing from elsewhere."""
    title = html.escape(f"{schema['info']['title']} {schema['info']['version']}")
    body = "\n".join(_route(*each) for each in _operations(schema))
    about = html.escape(schema["info"].get("description") or "")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1><p>{about}</p>"
        f'<p><a href="openapi.json">openapi.json</a></p>\n{body}</html>'
    )


def _operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _route(method: str, path: str, operation: Mapping[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    given = {each["name"]: each["schema"] for each in operation.get("parameters", ())}
    needed = set(body.get("required", ())) | {
        each["name"] for each in operation.get("parameters", ()) if each["required"]
    }
    rows = "".join(_field(name, each, name in needed) for name, each in {**given, **body.get("properties", {})}.items())
    return (
        f"<h2><code>{method} {html.escape(path)}</code></h2><p>{html.escape(operation['summary'])}</p>"
        f"<table>{rows}</table>"
    )


def _field(name: str, schema: Mapping[str, Any], needed: bool) -> str:
    kinds = schema.get("anyOf", (schema,))
    kind = " or ".join(each.get("type", "") for each in kinds)
    default = "" if needed else f"default {json.dumps(schema.get('default'))}"
    bounds = [
        f"{word} {each[key]:g}"
        for each in kinds
        for key, word in (("minimum", "at least"), ("maximum", "at most"))
        if key in each
    ]
    cells = (f"<code>{name}</code>", kind, "; ".join(filter(None, ["needed" if needed else default, *bounds])))
    about = html.escape(schema.get("description", ""))
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}<td>{about}</td></tr>"
