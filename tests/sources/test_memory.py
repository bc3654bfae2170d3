"""What a source takes of memory depends on no file's size: ten times the file, the same peak."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.extract.test_pdf import made_pdf
from tests.support.archives import http, member, record

SIZE = 6 << 20  # of the smaller file
ALLOWED = 24 << 20  # what the larger may take more, ten times that between them
READ = """
import sys
from gristmill.pipeline.extract.extraction import Extraction
from gristmill.pipeline.extract.settings import ExtractSettings
from gristmill.pipeline.run.attempt import peak_bytes
from gristmill.pipeline.sources.plan import plan_shards
from gristmill.pipeline.sources.settings import SourceSettings
path, format_, prefix = sys.argv[1:]
source = SourceSettings(inputs=[path], format=format_, prefix=prefix or None)
for shard in plan_shards(source, 1 << 40):
    extraction = Extraction(shard, "web", source, ExtractSettings(extractor="resiliparse", pdf="text"))
    kept = sum(len(batch.documents) for batch in extraction)
print(kept, peak_bytes())
"""
WORDS = "The mill at the end of the valley ground rye day after day for three parishes. "


def write_rows(path: Path, num_bytes: int) -> int:
    row = {"id": 0, "text": WORDS * 12}
    num_rows = num_bytes // len(json.dumps(row))
    rows = [{"id": number, "text": f"{number} {row['text']}"} for number in range(num_rows)]
    match path.suffix:
        case ".csv":
            lines = ["id,text\n", *(f'{one["id"]},"{one["text"]}"\n' for one in rows)]
            path.write_text("".join(lines))
        case ".json":
            path.write_text(json.dumps(rows, indent=1))
        case ".arrow":
            table = pa.Table.from_pylist(rows)
            with pa.ipc.new_file(str(path), table.schema) as writer:
                writer.write_table(table, max_chunksize=1000)
    return num_rows


def write_index(path: Path, num_bytes: int) -> int:
    """Rows that name records of one archive of the same size, of which each is asked for."""
    archive, places, at = path.with_suffix(".warc.gz"), [], 0
    with archive.open("wb") as file:
        while at < num_bytes:
            body = f"<html><body><p>{len(places)} {WORDS * 40}</p></body></html>".encode()
            stored = member(record(len(places), http(body))) + b""
            places.append((at, len(stored)))
            at += file.write(stored)
            if len(places) >= num_bytes // 1000:
                break
    rows = {
        "url": [f"https://example.com/{number}" for number in range(len(places))],
        "filename": [archive.name] * len(places),
        "offset": [place[0] for place in places],
        "length": [place[1] for place in places],
    }
    pq.write_table(pa.table(rows), path, row_group_size=5000)
    return len(places)


def write_pdfs(path: Path, num_bytes: int) -> int:
    lines = [f"{number} {WORDS[:70]}" for number in range(40)]
    number = at = 0
    with path.open("wb") as file:
        while at < num_bytes:
            pdf = made_pdf([[f"{number} {page} {line}" for line in lines] for page in range(40)])
            at += file.write(record(number, http(pdf, content_type="application/pdf")))
            number += 1
    return number


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "format_", "write", "prefix"),
    [
        ("a.csv", "csv", write_rows, False),
        ("a.json", "jsonl", write_rows, False),
        ("a.arrow", "arrow", write_rows, False),
        ("a.parquet", "ccindex", write_index, True),
        ("a.warc", "warc", write_pdfs, False),
    ],
)
def test_ten_times_the_file_takes_no_more_memory(
    tmp_path: Path, name: str, format_: str, write: object, prefix: bool
) -> None:
    peaks = []
    for times in (1, 10):
        folder = tmp_path / str(times)
        folder.mkdir()
        size = SIZE // 16 if write is write_pdfs else SIZE  # a page of them takes a millisecond
        wanted = write(folder / name, size * times)  # type: ignore[operator]
        arguments = [str(folder / name), format_, f"{folder.as_uri()}/" if prefix else ""]
        run = subprocess.run([sys.executable, "-c", READ, *arguments], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr[-2000:]
        kept, peak = map(int, run.stdout.split())
        assert kept == wanted
        peaks.append(peak)
    print(name, [peak >> 20 for peak in peaks])
    assert peaks[1] - peaks[0] < ALLOWED
