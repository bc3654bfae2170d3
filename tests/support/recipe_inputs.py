"""What a recipe of the package needs, stood in by small things: a file for each glob, list, benchmark and
model."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from gristmill.classifiers.quality.fasttext_child import train_supervised
from gristmill.filters.published.distribution import BUCKETS, Distribution, save
from gristmill.pipeline.recipe.shipped import shipped_recipe
from gristmill.pipeline.sources.rows.layouts import resolve_columns
from gristmill.yaml12 import Yaml12Loader

Rows = Callable[[str], Sequence[dict[str, Any]]]  # texts and URLs by the name of a source


def lay_out(name: str, folder: Path, archives: Sequence[Path], rows: Rows) -> Path:
    """Copy a recipe of the package to a folder and put beside it what it needs; return the recipe.

    `archives` are the files of every source whose inputs are WARC; other sources get rows.
    """
    own = shipped_recipe(name)
    path = folder / own.path.name
    path.write_text(own.text)
    data = yaml.load(own.text, Yaml12Loader)
    known: set[str] = set()
    for source, settings in data["sources"].items():
        columns = resolve_columns(settings.get("columns", {}))
        for pattern in _listed(settings["inputs"]):
            known.add(pattern)
            if (folder / pattern).parent.exists():
                continue
            (folder / pattern).parent.mkdir(parents=True)
            if ".warc" in pattern:
                for archive in archives:
                    _link(archive, folder / pattern.replace("*", archive.name.partition(".")[0]))
            else:
                extra = settings.get("passthrough", {})
                write_rows(folder / pattern.replace("*", "a"), columns, list(extra), rows(source))
    for pattern in own.about.needs:
        if pattern not in known:
            stand_in(folder / pattern.replace("*", "a"))
    return path


def write_rows(path: Path, columns: dict[str, Any], extra: list[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of text, id and URL in a layout."""
    named = {kind: columns.get(kind, kind) for kind in ("text", "id", "url")}
    written = []
    for row in rows:
        one: dict[str, Any] = {}
        for kind, column in named.items():
            if column and kind in row:
                outer, dot, inner = column.partition(".")
                one[outer] = {inner: row[kind]} if dot else row[kind]
        written.append({**one, **{name: _value(name) for name in extra}})
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(written), path)
        return
    body = "".join(json.dumps(row) + "\n" for row in written).encode()
    if path.suffix == ".zst":
        import zstandard

        path.write_bytes(zstandard.compress(body))
    else:
        path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)


def stand_in(path: Path) -> None:
    """Make a small list, benchmark, model or set of thresholds by what its name says it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.parent.name == "dsir":
        save(Distribution(np.arange(1, BUCKETS + 1), 300.0), path)
    elif path.suffix == ".jsonl":
        path.write_text(
            json.dumps(
                {"question": "Which of these more than thirteen words in a row does no page of the web hold?"}
            )
        )
    elif path.suffix == ".bin":
        path.write_bytes(small_model(path.stem))
    elif path.suffix == ".yml":
        path.write_text("max_avg_word_length: 15\nmin_avg_word_length: 2\nstopwords: [der, la, в, de, и]\n")
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(b"aute irure dolor \n\\|\\s*$\n"))
    else:
        path.write_text("blocked.example\n")


def small_model(kind: str) -> bytes:
    """A fastText model with the labels that models of this name have."""
    labels = ("toxic", "non_toxic") if kind.startswith("jigsaw") else ("hq", "cc")
    texts = ("the of and to in that it with was for on are", "der die und das ist nicht ein mit von auf")
    with tempfile.TemporaryDirectory() as folder:
        taught, model = Path(folder, "a.txt"), Path(folder, "a.bin")
        lines = [f"__label__{label} {text}\n" for label, text in zip(labels, texts, strict=True)] * 20
        taught.write_text("".join(lines))
        settings = {"dim": 4, "epoch": 20, "lr": 1.0, "bucket": 0, "thread": 1, "minCount": 1, "verbose": 0}
        train_supervised(taught, model, settings)
        return model.read_bytes()


def _value(name: str) -> Any:
    return 3 if name.endswith(("score", "_count")) else name


def _listed(inputs: Any) -> list[str]:
    return [inputs] if isinstance(inputs, str) else list(inputs)


def _link(source: Path, to: Path) -> None:
    try:
        to.hardlink_to(source)
    except OSError:
        shutil.copy(source, to)
