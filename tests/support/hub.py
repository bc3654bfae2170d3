"""A stand-in for the Hugging Face Hub on loopback: data-set repositories from files in memory.

It answers what `huggingface_hub`'s file system asks: a repository's facts, its tree, facts of paths, and
files by range, as the Hub's API documents them (huggingface.co/docs/hub/api).
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "a" * 40


class Hub:
    """Data sets by `owner/name`, each a dict of paths to bytes; `asked` lists the requests."""

    def __init__(self, data_sets: dict[str, dict[str, bytes]]) -> None:
        self.data_sets = data_sets
        self.asked: list[str] = []
        self.failures = 0  # so many reads of files are refused as a busy server does
        self.token: str | None = None  # what a private data set asks for

    def entry(self, files: dict[str, bytes], path: str) -> dict[str, Any] | None:
        if path in files:
            oid = hashlib.sha1(files[path]).hexdigest()
            return {"type": "file", "path": path, "oid": oid, "size": len(files[path])}
        if any(name.startswith(path + "/") for name in files):
            return {"type": "directory", "path": path, "oid": COMMIT, "size": 0}
        return None

    def tree(self, files: dict[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
        below = folder + "/" if folder else ""
        names = set()
        for name in files:
            if name.startswith(below):
                parts = name[len(below) :].split("/")
                depth = len(parts) if recursive else 1
                names |= {below + "/".join(parts[: n + 1]) for n in range(depth)}
        return [found for name in sorted(names) if (found := self.entry(files, name))]


@contextmanager
def serve(hub: Hub) -> Iterator[str]:
    """Serve on a free port of loopback and yield the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
            self.answer(form)

        def do_GET(self) -> None:
            self.answer({})

        def answer(self, form: dict[str, list[str]]) -> None:
            url = urlsplit(self.path)
            hub.asked.append(f"{self.command} {unquote(url.path)}")
            if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                return self.say(401, {"error": "Invalid username or password."})
            parts = [part for part in unquote(url.path).split("/") if part]
            is_api = parts[:1] == ["api"]
            kind, owner, name, *rest = (parts[1:] if is_api else parts) + [""] * 3
            files = hub.data_sets.get(f"{owner}/{name}") if kind == "datasets" else None
            if files is None:
                return self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            rest = [part for part in rest if part]
            if not is_api:
                return self.file(files.get("/".join(rest[2:])))
            if rest[:1] == ["paths-info"]:
                found = [hub.entry(files, path.strip("/")) for path in form.get("paths", [])]
                return self.say(200, [entry for entry in found if entry])
            if rest[:1] == ["tree"]:
                folder, query = "/".join(rest[2:]), parse_qs(url.query)
                if folder and not hub.entry(files, folder):
                    return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
                recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
                return self.say(200, hub.tree(files, folder, recursive))
            facts = {"_id": "1", "id": f"{owner}/{name}", "sha": COMMIT, "private": False, "tags": []}
            return self.say(200, facts | {"downloads": 0, "likes": 0, "siblings": []})

        def file(self, data: bytes | None) -> None:
            if data is None:
                return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            if hub.failures:
                hub.failures -= 1
                return self.say(503, {"error": "busy"})
            first, last, status = 0, len(data) - 1, 200
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes="):
                begin, _, end = asked.removeprefix("bytes=").partition("-")
                first, last, status = int(begin), min(int(end or last), last), 206
            body = data[first : last + 1]
            headers = {"Content-Range": f"bytes {first}-{last}/{len(data)}"} if status == 206 else {}
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            return self.say(status, body, headers | {"ETag": etag, "X-Repo-Commit": COMMIT})

        def say(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
