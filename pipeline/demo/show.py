"""What a run came to, on a terminal of 80 columns: funnel, mixture, model before and after, a sample, and
where it all lies.

Everything is read from manifests; nothing is printed in colour where there is no terminal or NO_COLOR is set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gristmill.manifest import Manifest
from gristmill.pipeline.run.narration.progress import spell_seconds
from gristmill.pipeline.stages.mix import MixFacts

_WIDTH = 80
_RULES_SHOWN = 4  # per step; the others are summed up
_SAMPLE_TOKENS = 80
_OUTLETS = ("kept", "removed", "failed")


def show_run(manifests: Mapping[str, Manifest], out: Path, prompt: str, stream: TextIO | None = None) -> None:
    """Print what the steps of a finished run did; the sample is drawn where a model was trained."""
    console = Console(file=stream, width=_WIDTH, highlight=False, soft_wrap=False)
    mixed, trained = manifests.get("mix"), manifests.get("train")
    shown: list[Table | Text] = [funnel(manifests), reasons(manifests), *([mixture(mixed)] if mixed else [])]
    if trained:
        shown += [model(trained), *sample(trained, prompt)]
    with console.capture() as captured:
        for part in shown:
            console.print(part)
    for line in [*captured.get().splitlines(), *places(manifests, out)]:
        print(
            line.rstrip(), file=stream
        )  # tables are padded to their width, which a pipe or a copy has no use for


def funnel(manifests: Mapping[str, Manifest]) -> Table:
    """Documents and bytes in, kept, removed and failed, step by step."""
    table = _table("The funnel", ["step", "in", "kept", "removed", "failed", "took"])
    for name, manifest in manifests.items():
        took, books = spell_seconds(manifest.timing.get("seconds", 0.0)), manifest.books
        if books is None:
            table.add_row(name, "", "", "", "", took)
            continue
        table.add_row(
            name, f"{books.items_in:,}", *(f"{books.items_out[outlet]:,}" for outlet in _OUTLETS), took
        )
        sizes = (
            spell_bytes(size) if size else ""
            for size in (books.bytes_in, *(books.bytes_out[outlet] for outlet in _OUTLETS))
        )
        _add_details(table, "bytes", *sizes)
        if books.created_bytes:
            _add_details(table, "text extracted", "", spell_bytes(books.created_bytes))
        if books.bytes_out["deleted"]:
            _add_details(table, "text edited away", "", "", spell_bytes(books.bytes_out["deleted"]))
        for outlet, count in sorted(books.items_out.items()):
            if outlet not in _OUTLETS and count:  # records that are no documents, documents that are held out
                _add_details(table, outlet, f"{count:,}")
    return table


def reasons(manifests: Mapping[str, Manifest]) -> Table:
    """Why documents left, the first rule that failed or the error, step by step."""
    table = _table("Why documents left", ["step", "rule or error", "documents"])
    table.columns[1].justify = "left"
    for name, manifest in manifests.items():
        if manifest.books:
            rows = [*_largest(manifest.books.by_rule_first), *_largest(manifest.books.by_error)]
            for number, (reason, count) in enumerate(rows):
                table.add_row("" if number else name, reason, f"{count:,}")
    return table


def mixture(mixed: Manifest) -> Table:
    """LLaMA-1's table: which source has which share, for how many epochs, of how much."""
    table = _table("The mixture", ["source", "proportion", "epochs", "documents", "tokens", "bytes"])
    rows = mixed.stated(MixFacts).table
    total = sum(row["tokens"] for row in rows) or 1
    for row in rows:
        share = f"{100 * row['tokens'] / total:.1f} %"
        table.add_row(
            row["name"],
            share,
            f"{row['epochs']:.2f}",
            f"{row['docs']:,}",
            f"{row['tokens']:,}",
            spell_bytes(row["bytes"]),
        )
    return table


def model(trained: Manifest) -> Table:
    """Loss and bits per byte on held-out documents of each source, before and after training."""
    summary = trained.extra
    size, speed = (
        f"{summary['parameters'] / 1e6:.1f} M parameters",
        f"{trained.timing['tokens_per_s']:,.0f} tokens/s",
    )
    table = _table(
        f"The model: {size}, {summary['tokens']:,} tokens in {summary['steps']} steps, {speed}",
        ["held out", "documents", "loss before", "after", "bits/byte before", "after"],
    )
    before, after = (
        {row["source"]: row for row in summary["evaluations"].get(when, ())} for when in ("before", "after")
    )
    for source, row in after.items():
        first = before.get(source, {})
        cells = [f"{first[key]:.3f}" if first else "" for key in ("loss", "bits_per_byte")]
        table.add_row(
            source,
            f"{row['docs']:,}",
            cells[0],
            f"{row['loss']:.3f}",
            cells[1],
            f"{row['bits_per_byte']:.3f}",
        )
    return table


def sample(trained: Manifest, prompt: str) -> list[Text]:
    """Let the model continue a prompt, as three short lines of heading, prompt and continuation."""
    from gristmill.trainer.evaluation.generate import Sampling, complete

    run = trained.folder / "train" / "run"
    sampling = Sampling(max_tokens=_SAMPLE_TOKENS, temperature=0.7, top_p=0.9, seed=1)
    (continued,) = complete(run, [prompt], sampling, device="cpu")
    words = Text(prompt, "bold") + Text("".join(char if char.isprintable() else " " for char in continued))
    return [Text("A sample", "bold"), words, Text("")]


def places(manifests: Mapping[str, Manifest], out: Path) -> Iterator[str]:
    """Where the results lie, each as the path to open: on a line of its own, never broken."""
    listed = [
        ("trained model and log", "train", "train/run"),
        ("token shards", "mix", "shards/train"),
        ("tokenizer", "tokenizer", "data"),
        ("documents, removed ones and reasons", "", "steps"),
        ("all of it on a page", "", "report.html"),
    ]
    for what, step, below in listed:
        if not step or step in manifests:
            folder = manifests[step].folder if step else out
            yield what
            yield f"  {folder / below}"


def spell_bytes(count: int) -> str:
    """Spell a size with three digits: 950 B, 12.3 kB, 4.56 MB."""
    if count < 1000:
        return f"{count} B"
    size, units = float(count), iter(("kB", "MB", "GB", "TB"))
    while size >= 999.5:
        size, unit = size / 1000, next(units)
    return f"{size:.{max(0, 3 - len(str(int(size))))}f} {unit}"


def _largest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    ordered = sorted(
        ((name, count) for name, count in counts.items() if count), key=lambda pair: (-pair[1], pair[0])
    )
    rest = ordered[_RULES_SHOWN:]
    if len(rest) < 2:
        return ordered
    return [*ordered[:_RULES_SHOWN], (f"{len(rest)} more", sum(count for _, count in rest))]


def _add_details(table: Table, *cells: str) -> None:
    table.add_row(*(Text(cell if number else f"  {cell}", "dim") for number, cell in enumerate(cells)))


def _table(title: str, heads: Sequence[str]) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", min_width=0 if number == 0 else 8)
    return table
