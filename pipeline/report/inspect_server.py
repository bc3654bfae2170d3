"""Reading documents in the browser: a small server that only this machine can reach."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gristmill.errors import GristmillError, UsageError
from gristmill.files.inside import inert
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.document.telling import as_json
from gristmill.pipeline.look.documents import Query, Shelf, count_documents
from gristmill.pipeline.report.charts.markup import Html, tag
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.stages.filter import FilterFacts

HOST = "127.0.0.1"
_HERE = Path(__file__).parent
_FIELDS = ("outlet", "rule", "near", "source", "domain", "text")
_SHELVES = 32  # queries whose place is remembered


def serve(out: Path, query: Query, port: int) -> None:
    """Serve the reader until Ctrl-C; raises UsageError where the port is taken."""
    server = make_server(out, query, port)
    print(f"http://{HOST}:{server.server_port}/  (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()


def make_server(out: Path, query: Query, port: int = 0) -> ThreadingHTTPServer:
    reader = _Reader(out, query)
    handler = type("Handler", (_Handler,), {"reader": reader})
    try:
        return ThreadingHTTPServer((HOST, port), handler)
    except OSError as error:
        raise UsageError(
            f"port {port} cannot be used: {error.strerror}", hint="`--port 0` takes a free one"
        ) from None


class _Reader:
    """What the handlers share: one run, and the shelves opened so far."""

    def __init__(self, out: Path, query: Query) -> None:
        self.out, self.query = out, query
        self._shelves: dict[Query, Shelf] = {}
        self._lock = threading.Lock()  # a shelf is a generator, and is read by one thread at a time

    @staticmethod
    def _query(asked: Mapping[str, str]) -> Query:
        said = {name: asked[name] for name in _FIELDS if asked.get(name)}
        if said.get("outlet", "kept") not in ("kept", "removed", "failed"):
            raise UsageError("`outlet` must be kept, removed or failed")
        return replace(Query(), **said)  # type: ignore[arg-type]

    def document(self, asked: Mapping[str, str]) -> dict[str, Any]:
        query = self._query(asked)
        at = int(asked.get("at", "0")) if asked.get("at", "0").isdecimal() else 0
        with self._lock:
            if query not in self._shelves:
                while len(self._shelves) >= _SHELVES:
                    del self._shelves[next(iter(self._shelves))]
                self._shelves[query] = Shelf(self.out, query)
            shown = self._shelves[query].get(at)
        return {"at": at, "document": None if shown is None else _inert(shown.as_json())}

    def count(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """How many documents a query matches; those it names by a cut are not counted."""
        return {"matched": count_documents(self.out, self._query(asked))}

    def life(self, asked: str) -> dict[str, Any]:
        found: dict[str, Any] = _inert(json.loads(as_json(look_up(self.out, asked))))
        return found

    def page(self) -> tuple[str, str]:
        """The page and its policy."""
        style = (_HERE / "page.css").read_text("utf-8")
        script = (_HERE / "inspect.js").read_text("utf-8")
        manifests = finished_steps(self.out)
        rules = sorted(
            {rule for manifest in manifests.values() if manifest.books for rule in manifest.books.by_rule_any}
        )
        cuts = [
            bound["rule"] for manifest in manifests.values() for bound in manifest.stated(FilterFacts).bounds
        ]
        sources = list(
            dict.fromkeys(source for manifest in manifests.values() for source in manifest.sources())
        )
        form = tag(
            "form",
            _select("outlet", ["kept", "removed", "failed"], self.query.outlet, None),
            _select("rule", rules, self.query.rule, "any rule"),
            _select("near", list(dict.fromkeys(cuts)), self.query.near, "near no cut"),
            _select("source", sources, self.query.source, "any source"),
            _input("domain", self.query.domain),
            _input("text", self.query.text),
            tag("button", "← previous (k)", type="button", id="previous"),
            tag("button", "next (j) →", type="button", id="next"),
            tag("span", "", id="position", aria_live="polite"),
            class_="controls",
            id="query",
        )
        title = f"{self.out.name} · documents"
        head = [
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", title),
            tag("link", rel="icon", href="data:,"),
            tag("style", Html(style)),
        ]
        main = tag(
            "main",
            tag(
                "header",
                tag("p", tag("span", "gristmill", class_="mark"), class_="top"),
                tag("h1", title),
                class_="hero",
            ),
            form,
            tag("article", "", id="document", class_="sample"),
            tag("div", "", id="life"),
            class_="page",
        )
        html = tag("html", tag("head", *head), tag("body", main, tag("script", Html(script))), lang="en")
        policy = (
            f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; connect-src"
            " 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return f"<!doctype html>\n{html}\n", policy


class _Handler(BaseHTTPRequestHandler):
    reader: _Reader

    def do_GET(self) -> None:
        # A page elsewhere may point a name of its own at this address: only our own names are answered.
        port = self.connection.getsockname()[1]
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(403)
            return
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        try:
            if url.path == "/":
                html, policy = self.reader.page()
                self._answer(200, html.encode(), "text/html; charset=utf-8", policy)
            elif url.path == "/document":
                self._answer_json(200, self.reader.document(asked))
            elif url.path == "/count":
                self._answer_json(200, self.reader.count(asked))
            elif url.path == "/life":
                self._answer_json(200, self.reader.life(asked.get("of", "")))
            else:
                self.send_error(404)
        except GristmillError as error:
            self._answer_json(400, {"error": inert(str(error))})

    def _answer_json(self, status: int, value: Any) -> None:
        self._answer(
            status, json.dumps(value, default=str).encode(), "application/json", "default-src 'none'"
        )

    def _answer(self, status: int, body: bytes, kind: str, policy: str) -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        for name, value in {
            **headers,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal is the reader's."""


def _select(name: str, values: list[str], chosen: str | None, unset: str | None) -> Html:
    options = [tag("option", unset, value="")] if unset else []
    options += [tag("option", value, value=value, selected=value == chosen) for value in values]
    return tag("label", name, tag("select", *options, name=name))


def _input(name: str, value: str | None) -> Html:
    return tag("label", name, tag("input", type="search", name=name, value=value or "", size="12"))


def _inert(value: Any) -> Any:
    if isinstance(value, str):
        return inert(value)
    if isinstance(value, Mapping):
        return {key: _inert(item) for key, item in value.items()}
    return [_inert(item) for item in value] if isinstance(value, list | tuple) else value


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
