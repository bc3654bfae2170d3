"""Pages with gold, as training sees them: read from web archives and a file of gold, tokenized and
labelled."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import orjson

from gristmill.errors import InputError
from gristmill.pipeline.extract.blocks.tokenizer import Tokenized, tokenize
from gristmill.pipeline.extract.blocks.training.labels import label_blocks, label_snippets
from gristmill.pipeline.extract.decoding.charset import decode

MIN_ON_PAGE = 0.5  # gold of which less is found on the page lies in scripts: nothing to learn
# Under these a site's own name is the third label from the right.
_SECOND_LEVEL = frozenset(("co", "com", "org", "net", "gov", "edu", "ac", "or", "ne", "go", "gob", "gouv"))
_HOSTS = frozenset(("github.io", "blogspot.com", "wordpress.com"))


@dataclass(frozen=True, slots=True)
class LabelledPage:
    """A tokenized page, the gold it is judged by, and the labels of its blocks.

    `kind` is `full` (gold is the whole main text), `snippets` (only what must and must not be in it) or
    `silver` (a text that two extractors agree on).
    """

    url: str
    html: npt.NDArray[np.uint8]
    domain: str
    kind: str
    source: str
    page_type: str
    language: str
    gold: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]
    tokenized: Tokenized
    labels: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]

    def block_texts(self) -> list[str]:
        """Return the text of each block."""
        data = self.tokenized.text.tobytes()
        return [data[start:end].decode() for start, end in self.blocks[:, :2]]

    @property
    def blocks(self) -> npt.NDArray[np.int32]:
        return self.tokenized.blocks

    @property
    def tokens(self) -> npt.NDArray[np.int32]:
        return self.tokenized.tokens

    @property
    def words(self) -> npt.NDArray[np.int32]:
        return self.tokenized.words

    @property
    def elements(self) -> npt.NDArray[np.int64]:
        return self.tokenized.elements


def registered_domain(url: str) -> str:
    """Return the domain a site is registered under, by a short list of public suffixes."""
    labels = (urlsplit(url).hostname or url).split(".")
    below = len(labels) > 2 and (
        (labels[-2] in _SECOND_LEVEL and len(labels[-1]) == 2) or ".".join(labels[-2:]) in _HOSTS
    )
    return ".".join(labels[-3:] if below else labels[-2:])


def read_pages(archives: Sequence[Path], gold_files: Sequence[Path]) -> list[LabelledPage]:
    """Read the pages of web archives that have gold of kind `full` or `snippets`, in the order of the
    archives.

    Gold is JSON lines (gzip or not) of `url, gold_text, gold_kind, on_page, with, without, source, page_type,
    lang`. A page and its gold meet by URL, within the folder they share, so that collections with a page in
    common stay apart.
    """
    gold: dict[tuple[Path, str], dict[str, Any]] = {}
    for path in gold_files:
        for row in _json_lines(path):
            if row.get("gold_kind") in ("full", "snippets") and row.get("on_page", 1.0) >= MIN_ON_PAGE:
                gold.setdefault((path.parent, row["url"]), row)
    pages = []
    for path in archives:
        for url, charset, body in responses(path):
            if row := gold.pop((path.parent, url), {}):
                pages.append(label_page(url, decode(body, charset)[0].encode(), row, path.parent.name))
    if not pages:
        raise InputError(
            "no page of the archives has gold",
            hint="gold rows must carry the URLs of records in archives of the same folder",
        )
    return pages


def label_page(url: str, html: bytes, gold: dict[str, Any], collection: str) -> LabelledPage:
    """Tokenize one page and label its blocks by a row of gold."""
    data = np.frombuffer(html, dtype=np.uint8)
    tokenized = tokenize(data)
    # Arrays of their own, without the room a page could have taken.
    copies = {name: value.copy() for name, value in tokenized._asdict().items() if hasattr(value, "copy")}
    tokenized = tokenized._replace(**copies)
    joined = tokenized.text.tobytes()
    texts = [joined[start:end].decode() for start, end in tokenized.blocks[:, :2].tolist()]
    if gold["gold_kind"] == "full":
        labels, weights = label_blocks(texts, gold["gold_text"])
    else:
        labels, weights = label_snippets(texts, gold.get("with") or (), gold.get("without") or ())
    return LabelledPage(
        url, data, registered_domain(url), gold["gold_kind"], f"{collection}/{gold.get('source')}",
        gold.get("page_type") or "",
        gold.get("lang") or "", gold.get("gold_text") or "", tuple(gold.get("with") or ()),
        tuple(gold.get("without") or ()),
        tokenized, labels, weights,
    )  # fmt: skip


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            if line.strip():
                yield orjson.loads(line)


def responses(path: Path) -> Iterator[tuple[str, str | None, bytes]]:
    """Yield (URL, charset of the header, body) of the responses in a web archive."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
            yield record.headers.get("WARC-Target-URI") or "", record.http_charset, record.reader.read()
