"""dolma's compiled deduplication over the documents of a folder, for benchmarks/stages.py: print {name:
{stage: MB a CPU second}}.

Documents are removed whole by their texts, and paragraphs of a line, by its Bloom filters; its mixer then
writes what stays. Both read and write JSON lines in gzip, the one form dolma takes. Its extension is loaded
by itself: `pip install --no-deps dolma` is enough.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

LARGE = 1 << 40


def extension() -> Any:
    """The package's compiled module, without its Python, which needs far more than is asked here."""
    package = importlib.util.find_spec("dolma")
    assert package is not None and package.submodule_search_locations, "dolma is not installed"
    (file,) = Path(package.submodule_search_locations[0]).glob("dolma.*.so")
    spec = importlib.util.spec_from_file_location("dolma", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_documents(folder: Path, scratch: Path) -> int:
    """Write all documents as dolma reads them; return the bytes of text."""
    size = 0
    (scratch / "documents").mkdir()
    with (
        (folder / "docs.jsonl").open() as lines,
        gzip.open(scratch / "documents" / "docs.json.gz", "wt", compresslevel=1) as file,
    ):
        for line in lines:
            row = json.loads(line)
            size += len(row["text"].encode())
            file.write(json.dumps({"id": row["id"], "text": row["text"], "source": "web"}) + "\n")
    return size


def dedupe(scratch: Path, name: str, how: dict[str, Any], num_keys: int) -> dict[str, Any]:
    return {
        "documents": [str(scratch / "documents" / "*.gz")],
        "work_dir": {"input": str(scratch / "in"), "output": str(scratch / "out")},
        "dedupe": {"name": name, "skip_empty": True, **how},
        "bloom_filter": {
            "file": str(scratch / f"{name}.bloom"),
            "read_only": False,
            "size_in_bytes": 0,
            "estimated_doc_count": num_keys,
            "desired_false_positive_rate": 1e-6,
        },
        "processes": 1,
    }


def mix(scratch: Path, name: str, how: dict[str, Any]) -> dict[str, Any]:
    stream = {
        "name": "web",
        "documents": [str(scratch / "documents" / "*.gz")],
        "attributes": [name],
        "output": {"path": str(scratch / f"mixed-{name}"), "max_size_in_bytes": LARGE},
        **how,
    }
    work = {"input": str(scratch / "in"), "output": str(scratch / "out")}
    return {"streams": [stream], "work_dir": work, "processes": 1}


def main() -> None:
    folder = Path(sys.argv[1])
    scratch = Path(tempfile.mkdtemp(prefix="dolma-"))
    dolma, found = extension(), {}
    twice = "$.attributes.duplicate[0]"
    try:
        size = write_documents(folder, scratch)
        whole = {"documents": {"attribute_name": "duplicate", "key": "$.text"}}
        parts = {"paragraphs": {"attribute_name": "duplicate"}}
        cut = {"span_replacement": [{"span": "$.attributes.duplicate", "min_score": 0.5, "replacement": ""}]}
        for stage, name, how, kept in (
            ("exact", "documents", whole, {"filter": {"include": [], "exclude": [twice]}}),
            ("lines", "paragraphs", parts, cut),
        ):
            begun = time.process_time()
            dolma.deduper_entrypoint(json.dumps(dedupe(scratch, name, how, 1_000_000)))
            dolma.mixer_entrypoint(json.dumps(mix(scratch, name, kept)))
            found[stage] = round(size / 1e6 / (time.process_time() - begun), 3)
            written = list((scratch / f"mixed-{name}").rglob("*.gz"))
            assert written, f"dolma wrote no documents for {stage}"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps({"dolma (Rust)": found}))


if __name__ == "__main__":
    main()
