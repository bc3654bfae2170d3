"""A recipe of every stage over a few hundred small real texts: Python's own help topics, as pages and as JSON
lines."""

from __future__ import annotations

import html
import io
import json
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import yaml
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

NAVIGATION = (
    "<nav><ul><li><a href='/'>Home</a></li><li><a href='/about'>About us</a></li><li><a href='/login'>Log"
    " in</a></li></ul></nav>"
)


def write_inputs(folder: Path) -> None:
    """Write `web-*.warc.gz` (with near copies, short pages and an error page) and `prose.jsonl`."""
    texts = [(name, text.replace("\n*", "\n")) for name, text in sorted(topics.items()) if len(text) > 400]
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(3):
        write_warc(
            folder / f"web-{part}.warc.gz", [page for page in pages(texts[:60]) if page[0] % 3 == part]
        )
    with (folder / "prose.jsonl").open("w") as file:
        for name, text in texts[40:]:
            file.write(json.dumps({"id": f"topic:{name}", "text": text}) + "\n")


def pages(texts: list[tuple[str, str]]) -> list[tuple[int, str, str, int]]:
    """(number, path, HTML, status): each text as a page, every fifth a second time with another footer, some
    junk."""
    found: list[tuple[int, str, str, int]] = []
    for name, text in texts:
        for copy in range(2 if len(found) % 5 == 0 else 1):
            paragraphs = "".join(f"<p>{html.escape(block)}</p>" for block in text.split("\n\n"))
            article = f"<article><h1>{html.escape(name)}</h1>{paragraphs}</article>"
            body = f"{NAVIGATION}{article}<footer>Copy {copy}, all rights reserved.</footer>"
            found.append(
                (
                    len(found),
                    f"{name}/{copy}",
                    f"<html><head><title>{name}</title></head><body>{body}</body></html>",
                    200,
                )
            )
    found.append((len(found), "missing", "<html><body><p>Not found</p></body></html>", 404))
    found += [
        (len(found) + n, f"short/{n}", "<html><body><p>Buy now!</p></body></html>", 200) for n in range(5)
    ]
    return found


def write_warc(path: Path, pages: list[tuple[int, str, str, int]]) -> None:
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for number, url, text, status in pages:
            headers = StatusAndHeaders(
                f"{status} OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1"
            )
            known = {
                "WARC-Record-ID": f"<urn:uuid:00000000-0000-4000-8000-{number:012d}>",
                "WARC-Date": "2025-01-15T12:00:00Z",
            }
            record = writer.create_warc_record(
                f"http://docs.example/{url}",
                "response",
                payload=io.BytesIO(text.encode()),
                http_headers=headers,
                warc_headers_dict=known,
            )
            writer.write_record(record)
            record.raw_stream.close()  # a temporary file of the writer


def recipe(**changes: Any) -> dict[str, Any]:
    """The recipe as plain data, with relative inputs; sections are replaced by keyword."""
    base: dict[str, Any] = {
        "name": "small",
        "seed": 7,
        "shard_bytes": 20_000,
        "sources": {
            "web": {"inputs": ["web-*.warc.gz"]},
            "prose": {"inputs": ["prose.jsonl"], "filter": False},
        },
        "extract": {"extractor": "resiliparse"},
        "filter": {"presets": ["gopher", "c4-code"]},
        "dedup": {"exact": {}, "fuzzy": {}},
        "classify": {
            "positives": ["prose"],
            "negatives": ["web"],
            "classifier": {"keep": {"rule": "pareto", "alpha": 0.5}},
        },
        "ngram": {
            "train_on": ["prose"],
            "apply_to": ["web"],
            "buckets": {"tail_fraction": 0.1, "keep": ["head", "middle"]},
        },
        "coverage": {"apply_to": ["web"], "max_per_domain": 25},
        "tokenizer": {"vocab_size": 512},
        "mix": {"proportions": {"web": 0.5, "prose": 0.5}, "tokens": 24_000, "heldout_fraction": 0.1},
    }
    return {**base, **changes}


def write_recipe(folder: Path, **changes: Any) -> Path:
    write_inputs(folder)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe(**changes), sort_keys=False))
    return path


WORDS = """
the of and to in that it with was for on are as his they be at one have this from or had by hot but
some what there we can out other were all your when up use word how said an each she which do their
time if will way about many then them would write like so these her long make thing see him two has
look more day could go come did my sound no most number who over know water than call first people
may down side been now find any new work part take get place made live where after back
"""


def fixed_inputs(folder: Path) -> None:
    """Write inputs that are the same on every machine: texts drawn from the words below by a little
    congruential generator."""
    words = WORDS.split()
    state = 42

    def draw(below: int) -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return (state >> 33) % below

    def text(num_sentences: int) -> str:
        sentences = [
            " ".join(words[draw(len(words))] for _ in range(6 + draw(12))).capitalize() + "."
            for _ in range(num_sentences)
        ]
        return "\n\n".join(" ".join(sentences[start : start + 4]) for start in range(0, num_sentences, 4))

    texts = [(f"page{number}", text(12 + draw(30))) for number in range(40)]
    for part in range(3):
        write_warc(folder / f"web-{part}.warc.gz", [page for page in pages(texts) if page[0] % 3 == part])
    with (folder / "prose.jsonl").open("w") as file:
        for number in range(30):
            file.write(json.dumps({"id": f"prose:{number}", "text": text(40)}) + "\n")
