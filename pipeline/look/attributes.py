"""Signals beside ids in Dolma's attributes layout: JSON lines of `id` and spans over the whole text, so that
dolma's mixer, or anything that reads its attributes, can filter by them."""

from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pyarrow.compute as pc

from gristmill.files.parquet import read_parquet
from gristmill.pipeline.look.analysis import measured
from gristmill.pipeline.run.folder import finished_steps


def write_attributes(out: Path, to: Path, name: str = "gristmill") -> int:
    """Write `TO/NAME/SOURCE-NNNNN.jsonl.gz` from the signals of a run's filters; return the number of rows.

    A signal `v0.gopher.words` is the attribute `NAME__gopher__words`: one span [0, characters, value].
    """
    folder, written = to / name, 0
    folder.mkdir(parents=True, exist_ok=True)
    for step, manifest in finished_steps(out).items():
        if manifest.ingredients["stage"] != "filter" or not manifest.ingredients["settings"]["filter"].get(
            "annotate"
        ):
            continue
        source = step.partition("/")[2]
        for number, (documents, signals) in enumerate(measured(manifest)):
            texts = read_parquet(documents, columns=["text"])["text"]
            sizes = pc.utf8_length(texts.fill_null("")).to_pylist()
            table = read_parquet(signals)
            ids = [value.hex() for value in table["id"].to_pylist()]
            columns = {
                f"{name}__{column.partition('.')[2].replace('.', '__')}": table[column].to_pylist()
                for column in table.column_names
                if column != "id" and not str(table.schema.field(column).type).startswith(("string", "large"))
            }
            with gzip.open(folder / f"{source}-{number:05d}.jsonl.gz", "wb") as file:
                for row, (id_, size) in enumerate(zip(ids, sizes, strict=True)):
                    spans = {
                        key: [[0, size, float(values[row])]]
                        for key, values in columns.items()
                        if values[row] is not None
                    }
                    file.write(orjson.dumps({"id": id_, "source": source, "attributes": spans}) + b"\n")
            written += len(ids)
    return written
