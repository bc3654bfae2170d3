"""A corpus laid out to be published: its files, card, Croissant description, statistics, recipe and manifest.

The same for a folder, a prefix of an object store and a repository of the Hugging Face Hub
(`hf://datasets/NAME/REPOSITORY`, with huggingface_hub installed).
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.errors import UsageError
from gristmill.files.disk import read_file
from gristmill.files.location import location
from gristmill.files.storage import write_atomic
from gristmill.hashing import sha256_file
from gristmill.pipeline.look.export import Wanted, export_folder, files_of, schema_of
from gristmill.pipeline.look.publishing.card import as_json, card, limits, recipe_yaml, remake_command
from gristmill.pipeline.look.publishing.corpus_statistics import statistics
from gristmill.pipeline.look.publishing.croissant import croissant
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.settings import EngineSettings

DATA = "data"
ENCODINGS = {"parquet": "application/x-parquet", "jsonl": "application/jsonlines"}
_OUR_FILES = ("README.md", "croissant.json", "statistics.json", "recipe.yaml", "manifest.json", "report.html")


def write_card(out: Path, target: Path, about: dict[str, str]) -> list[Path]:
    """Write README.md, croissant.json, statistics.json and recipe.yaml about a run into a folder."""
    found = statistics(out)
    files = [
        {
            "path": str(location(file.path).relative_to(out)),
            "bytes": file.num_bytes,
            "sha256": sha256_file(location(file.path)),
        }
        for file in files_of(out, Wanted())
    ]
    schema = schema_of(files_of(out, Wanted()), "native") if files else pa.schema([])
    return _write(out, target, found, about, files, schema, "parquet", {})


def publish(
    out: Path,
    target: Path,
    wanted: Wanted,
    kind: str,
    about: dict[str, str],
    engine: EngineSettings,
    progress: Progress,
) -> list[Path]:
    """Write the corpus below `target/data` and all that describes it beside; a stopped one goes on.

    Raises UsageError for a folder that holds something else.
    """
    others = [path.name for path in target.iterdir()] if target.exists() else []
    if strange := [name for name in others if name not in (*_OUR_FILES, DATA) and not name.startswith(".")]:
        raise UsageError(f"`{target}` holds `{strange[0]}`, which no corpus has", hint="name a new folder")
    found = statistics(out)
    has_splits = "in_shards" in found["tokens"]
    wanted = replace(wanted, split="both" if has_splits else "all")
    _, names = export_folder(out, wanted, target / DATA, kind, engine, progress)
    files: list[dict[str, Any]] = []
    for name in sorted(names):
        path = target / DATA / name
        files.append({"path": f"{DATA}/{name}", "bytes": path.stat().st_size, "sha256": sha256_file(path)})
    schema = schema_of(files_of(out, wanted), wanted.layout)
    stems = dict.fromkeys(name.partition("-")[0] for name in sorted(names, reverse=True))
    splits = {stem: f"{DATA}/{stem}-*" for stem in stems}
    written = _write(out, target, found, about, files, schema, kind, splits)
    report = out / "report.html"
    if report.exists():
        write_atomic(target / "report.html", read_file(report))
        written.append(target / "report.html")
    return written


def _write(
    out: Path,
    target: Path,
    found: dict[str, Any],
    about: dict[str, str],
    files: list[dict[str, Any]],
    schema: pa.Schema,
    kind: str,
    splits: dict[str, str],
) -> list[Path]:
    ended = time.strftime("%Y-%m-%d", time.gmtime())
    counted = f"{found['documents']:,} documents, {found['text_bytes']:,} bytes of text"
    described = {
        "description": f"{found['name']}: {counted}, made by gristmill {found['gristmill']}.",
        "license": about["license"],
        "url": about.get("url") or f"https://example.invalid/{found['name']}",
        "version": about.get("version") or "1.0.0",
        "date": ended,
        "citation": about.get("citation") or f"{found['name']}, made by gristmill {found['gristmill']}",
        "creator": about.get("creator") or "gristmill",
    }
    facts = {
        "collection": f"{found['pages']:,} pages of the sources {', '.join(found['sources'])}.",
        "preprocessing": "; ".join(f"{level['after']}: {level['documents']:,}" for level in found["funnel"]),
        "personal": json.dumps(found["personal_data"]) if found["personal_data"] else "not looked for",
        "limits": " ".join(limits(found)),
    }
    encoding = ENCODINGS["parquet" if kind == "parquet" else "jsonl"]
    columns = {field.name: str(field.type) for field in schema}
    described_as = croissant(found["name"], described, files, schema, encoding, facts)
    manifest = {
        "kind": "gristmill.corpus",
        "name": found["name"],
        "gristmill": found["gristmill"],
        "made_by": remake_command(out),
        "documents": found["documents"],
        "files": files,
    }
    texts = {
        "README.md": card(out, found, licence=about["license"], splits=splits, columns=columns).encode(),
        "croissant.json": json.dumps(described_as, indent=1).encode() + b"\n",
        "statistics.json": as_json(found),
        "recipe.yaml": recipe_yaml(out).encode(),
        "manifest.json": json.dumps(manifest, indent=1).encode() + b"\n",
    }
    for name, data in texts.items():
        write_atomic(target / name, data)
    return [target / name for name in texts]
