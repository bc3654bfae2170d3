"""The card of a corpus: a README.md as the Hugging Face Hub reads it, in numbers that manifests give."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gristmill.files.inside import inert
from gristmill.pipeline.look.printing.figures import count, share, size
from gristmill.pipeline.run.folder import finished_steps, read_run

# huggingface.co/docs/hub/datasets-cards, `size_categories`
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LARGER = ((10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"), (10**10, "1B<n<10B"))
_SHOWN = 15


def card(
    out: Path,
    found: Mapping[str, Any],
    *,
    licence: str,
    splits: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> str:
    """Return README.md: the Hub's YAML, then what the corpus is of, how it was made, and what it lacks.

    `found` are `statistics`; `splits` maps split names to patterns of their files, `columns` names to types.
    """
    head: dict[str, Any] = {
        "pretty_name": found["name"],
        "license": licence,
        "language": [name for name in found["languages"] if name != "unknown"][:50] or ["und"],
        "task_categories": ["text-generation"],
        "size_categories": [_size_category(found["documents"])],
        "tags": ["gristmill", "pretraining"],
    }
    if splits:
        files = [{"split": split, "path": pattern} for split, pattern in splits.items()]
        head["configs"] = [{"config_name": "default", "data_files": files}]
    body = "\n\n".join(part for part in _parts(out, found, licence, columns or {}) if part)
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n{inert(body)}\n"


def recipe_yaml(out: Path) -> str:
    """The resolved recipe of a run, secrets redacted."""
    return yaml.safe_dump(read_run(out).get("recipe", {}), sort_keys=False, allow_unicode=True)


def remake_command(out: Path) -> str:
    """The command that makes the corpus again from its recipe."""
    name = read_run(out)["recipe_name"]
    return f"gristmill run recipe.yaml --out {shlex.quote(f'out/{name}')}"


def limits(found: Mapping[str, Any]) -> list[str]:
    """What a reader should know is missing or uncertain."""
    said = [f"The run that made it is not whole: {problem}." for problem in found["problems"]]
    if not found["complete"]:
        said.append("The run that made it is not complete.")
    for source, made in found["synthetic"].items():
        seeds = ", ".join(f"`{seed}`" for seed in made["seeds"])
        said.append(
            f"The source `{source}` was written by the model `{made['model']}` from documents of {seeds}: it"
            " may state what is not so, and what the model's licence says of its output holds."
        )
    if not found["personal_data"]:
        said.append(
            "No filter looked for personal data (`filter.pii`): addresses and numbers stand as crawled."
        )
    if found["opt_out_found"] is None and not found["opt_out"]:
        said.append(
            "No rule honoured opt-outs (robots.txt, noai, TDM reservations) beyond what the crawler did."
        )
    if not found["contamination"]:
        said.append("No benchmark was looked for: evaluation on public test sets may be contaminated.")
    bare = [f"`{name}`" for name, source in found["sources"].items() if not source.get("licence")]
    if not found["licences"] and (bare or not found["sources"]):
        of = f" of {', '.join(bare)}" if len(bare) < len(found["sources"]) else ""
        said.append(f"Documents{of} carry no licence: rights remain with their authors.")
    said.append("Languages are told by a detector, and near duplicates by MinHash: both err.")
    return said


def _parts(out: Path, found: Mapping[str, Any], licence: str, columns: Mapping[str, str]) -> Iterator[str]:
    yield f"# {found['name']}"
    tokens = found["tokens"].get("in_shards") or found["tokens"].get("encoded")
    counted = f", {count(tokens)} tokens" if tokens else ""
    yield (
        f"{count(found['documents'])} documents, {size(found['text_bytes'])} of text{counted}, left of"
        f" {count(found['pages'])} pages ({share(found['documents'], found['pages'])}). Licence: {licence}."
    )
    rows = []
    for name, row in found["sources"].items():
        inputs = ", ".join(str(path) for path in row.get("inputs", [])[:3])
        amounts = [count(row["pages"]), count(row["documents"]), size(row["text_bytes"])]
        rows.append([name, *amounts, count(row.get("tokens", 0)), row.get("licence", ""), inputs])
    head = ["source", "pages", "documents", "text", "tokens", "licence", "read from"]
    yield "## Sources\n\n" + _table(head, rows)
    for title, key in (("Languages", "languages"), ("Domains, the largest", "domains"), ("Years", "years")):
        if found[key]:
            yield f"## {title}\n\n" + _counts(found[key], found["documents"])
    if lengths := {name: num for name, num in found["lengths_bytes_from"].items() if num}:
        yield "## Lengths, bytes from\n\n" + _counts(lengths, found["documents"], most=40)
    if columns:
        yield "## Columns\n\n" + _table(["column", "type"], [[name, kind] for name, kind in columns.items()])
    rows = [
        [level["after"], count(level["documents"]), count(level["removed"]), count(level["failed"]),
         size(level["text_bytes"])]
        for level in found["funnel"]
    ]  # fmt: skip
    yield "## How it was made\n\n" + _table(["after", "documents", "removed", "failed", "text"], rows)
    if found["rules"]:
        removed = _counts(found["rules"], found["pages"], most=40)
        yield f"### What rules removed, by the first that failed\n\n{removed}"
    yield "## Personal data, opt-outs, licences, contamination\n\n" + "\n".join(_protection(found))
    yield "## Known limits\n\n" + "\n".join(f"- {line}" for line in limits(found))
    yield "## Make it again\n\n" + _again(out, found)


def _protection(found: Mapping[str, Any]) -> Iterator[str]:
    if found["opt_out_found"] is not None:
        numbers = ", ".join(f"`{name}` {count(num)}" for name, num in found["opt_out_found"].items())
        yield f"- Opt-outs found, by documents, honoured or not: {numbers or 'none'}"
    for title, key in (
        ("Personal data replaced", "personal_data"),
        ("Documents removed for an opt-out", "opt_out"),
        ("Documents by licence", "licences"),
        ("Documents removed for a benchmark's text", "contamination"),
    ):
        numbers = ", ".join(f"`{name}` {count(num)}" for name, num in found[key].items())
        yield f"- {title}: {numbers or 'none counted'}"


def _again(out: Path, found: Mapping[str, Any]) -> str:
    manifests = finished_steps(out)
    rows = [
        [name, manifest.identity[:16], manifest.content_digest[:16]] for name, manifest in manifests.items()
    ]
    libraries = {
        name: version
        for manifest in manifests.values()
        for name, version in manifest.ingredients.get("libraries", {}).items()
    }
    versions = ", ".join(f"{name} {version}" for name, version in sorted(libraries.items()))
    recipe = recipe_yaml(out)
    return (
        f"With gristmill {found['gristmill']} and {versions}:\n\n```bash\n{remake_command(out)}\n```\n\n"
        "The same recipe and inputs give the same bytes; each step's identity, of all that decides them, and"
        " the digest of what it made:\n\n"
        f"{_table(['step', 'identity', 'digest'], rows)}\n\n"
        f"<details><summary>recipe.yaml</summary>\n\n```yaml\n{recipe}```\n</details>"
    )


def _counts(counts: Mapping[str, int], whole: int, most: int = _SHOWN) -> str:
    rows = [[name, count(num), share(num, whole)] for name, num in list(counts.items())[:most]]
    more = len(counts) - most
    return _table(["", "documents", "share"], rows) + (
        f"\n\nand {more} more (statistics.json)" if more > 0 else ""
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, rows)])


def _size_category(documents: int) -> str:
    return next((name for bound, name in (*_SIZES, *_LARGER) if documents < bound), "10B<n<100B")


def as_json(found: Mapping[str, Any]) -> bytes:
    """The statistics as a file."""
    return json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n"
