"""From documents to requests: passages, templates drawn by hash, and the identity of each request.

A request's digest is of all that the server is sent: model, interface, messages and sampling. Equal requests
are one, wherever they come from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from gristmill.hashing import canonical_json, digest16, uniform
from gristmill.pipeline.synthesis.settings import GenerateSettings

_ENDS = re.compile(r"\n\n|\n|[.!?。！？]\s|\s")
_SEARCHED = 400  # characters before a passage's bound in which a place to end is looked for


def passages(text: str, size: int, most: int) -> Iterator[str]:
    """Cut a text into passages of at most `size` characters, each up to the end of a paragraph, line,
    sentence or word, whichever comes first in that order."""
    at = 0
    for _ in range(most):
        rest = text[at : at + size]
        if not rest.strip():
            return
        if at + size < len(text):
            rest = rest[: _end(rest)]
        at += len(rest)
        yield rest.strip()


def _end(piece: str) -> int:
    start = max(0, len(piece) - _SEARCHED)
    best, at = -1, len(piece)
    for found in _ENDS.finditer(piece, start):
        rank = 3 if found[0] == "\n\n" else 2 if found[0] == "\n" else 1 if len(found[0]) > 1 else 0
        if rank >= best:
            best, at = rank, found.end()
    return at


def request_body(settings: GenerateSettings, prompt: str) -> dict[str, Any]:
    """What the server is sent."""
    if settings.server.api == "completions":
        system = f"{settings.system}\n\n" if settings.system else ""
        said: dict[str, Any] = {"prompt": system + prompt}
    else:
        first = [{"role": "system", "content": settings.system}] if settings.system else []
        said = {"messages": [*first, {"role": "user", "content": prompt}]}
    return {"model": settings.server.model, **said, **settings.sampling.body()}


def request_digest(settings: GenerateSettings, body: Mapping[str, Any], number: int = 0) -> str:
    """The identity of a request; `number` tells apart draws that one prompt is asked for several times."""
    several = (str(number),) if number else ()
    return digest16("request", settings.server.api, canonical_json(body), *several).hex()


class Prompts:
    """Makes the requests of documents; what is drawn for a document depends on its id alone."""

    def __init__(self, settings: GenerateSettings, wording: Mapping[str, str], seed: int) -> None:
        self._settings, self._wording, self._seed = settings, wording, seed
        self._weights = [(name, weight) for name, weight in settings.weights().items() if weight > 0]
        self._total = sum(weight for _, weight in self._weights)

    def of_table(self, documents: pa.Table) -> Iterator[dict[str, Any]]:
        """Yield a row for each request: what becomes of it needs its seed's id, URL, unit and origin."""
        settings = self._settings
        drawn = uniform(self._seed, "generate.fraction", documents.column("id").combine_chunks())
        rows = documents.filter(pa.array(drawn < settings.fraction)).to_pylist()
        for row in rows:
            text = (row["text"] or "").strip()
            if len(text) < settings.min_seed_characters:
                continue
            parts = passages(text, settings.passage_characters, settings.passages)
            for number, passage in enumerate(parts):
                yield from self._of_passage(row, number, passage)

    def _of_passage(self, row: Mapping[str, Any], number: int, passage: str) -> Iterator[dict[str, Any]]:
        seen: dict[str, int] = {}
        for again in range(self._settings.per_passage):
            key = (row["id"], number, again)
            name = self._template(key)
            before, after = self._filled(name, key)
            prompt = f"{before}{passage}{after}"
            body = request_body(self._settings, prompt)
            times = seen[prompt] = seen.get(prompt, -1) + 1
            yield {
                "request": request_digest(self._settings, body, times),
                "seed": row["id"].hex(),
                "seed_url": row["url"],
                "unit": (row.get("cluster_id") or row["id"]).hex(),
                "origin": row["origin"],
                "template": name,
                "prompt": prompt,
                "passage": [len(before), len(before) + len(passage)],
            }

    def _template(self, key: tuple[bytes, int, int]) -> str:
        place = self._draw("template", key) * self._total
        for name, weight in self._weights:
            if place < weight:
                return name
            place -= weight
        return self._weights[-1][0]

    def _filled(self, name: str, key: tuple[bytes, int, int]) -> tuple[str, str]:
        """A template before and after its passage, audience and style put in."""
        audiences, styles = self._settings.audiences, self._settings.styles
        audience = audiences[int(self._draw("audience", key) * len(audiences))]
        style = styles[int(self._draw("style", key) * len(styles))]
        before, _, after = self._wording[name].partition("{text}")
        both = (part.replace("{audience}", audience).replace("{style}", style) for part in (before, after))
        return tuple(both)  # type: ignore[return-value]

    def _draw(self, purpose: str, key: tuple[bytes, int, int]) -> float:
        digest = digest16(f"generate.{purpose}", str(self._seed), key[0].hex(), f"{key[1]}/{key[2]}")
        return int.from_bytes(digest[:8], "big") / (1 << 64)
