"""From a token back to its record: the shard's index names the document, and its whole life in the run is
told."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.errors import UsageError
from gristmill.files.storage import read_tables
from gristmill.pipeline.look.document.life import Life, look_up
from gristmill.pipeline.run.folder import finished_steps, result_of, run_of
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.token_shards import ENDS, IDS, TOKENS, read_manifest

_EXCERPT_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Traced:
    """A document that was asked for by one of its tokens or by its text: where, and what became of it."""

    place: dict[str, Any]
    life: Life

    def as_json(self) -> dict[str, Any]:
        """The place, then the record it came from, then every decision; events are those of `gristmill
        why`."""
        facts = self.life.events[0].facts if self.life.events else {}
        record = {name: facts.get(name) for name in ("source", "file", "offset", "date")}
        return {**self.place, "id": self.life.id, "url": self.life.url, **record, **asdict(self.life)}


def trace_token(out: Path, split: str, token: str) -> Traced:
    """Trace `SHARD:TOKEN`, such as 00000:1234."""
    from gristmill.tokenize.encoding.tokenizers import open_tokenizer
    from gristmill.tokenize.settings import TokenizerSettings

    folder = shard_folder(out, split)
    name, _, number = token.partition(":")
    manifest = read_manifest(folder)
    shard = next((shard for shard in manifest["shards"] if shard["name"] == name), None)
    if shard is None or not number.isdecimal() or int(number) >= shard["tokens"]:
        first = manifest["shards"][0]
        raise UsageError(
            f"there is no token `{token}` in `{folder}`",
            hint=f"shard {first['name']} has the tokens {first['name']}:0 to {first['tokens'] - 1}",
        )
    ends = ENDS.read(folder / name)
    row = int(np.searchsorted(ends, int(number), side="right"))
    start, stop = int(ends[row - 1]) if row else 0, int(ends[row])
    id_ = IDS.read(folder / name)[row].tobytes()
    tokens = TOKENS.read(folder / name, manifest["dtype"])[start:stop]
    settings = TokenizerSettings(eos=manifest["eos_id"])
    tokenizer = open_tokenizer(folder / manifest["tokenizer"], settings)
    place = {
        "token": f"{name}:{number}",
        "piece": tokenizer.piece(int(tokens[int(number) - start])),
        "document": f"tokens {start:,} to {stop:,} of the {split} shard",
        "text": tokenizer.decode(tokens[: len(tokens) - 1].tolist())[:_EXCERPT_CHARACTERS],
    }
    return Traced(place, look_up(out, id_.hex()))


def trace_text(out: Path, split: str, text: str, limit: int) -> list[Traced]:
    """Trace the documents of a split's shards whose text holds `text`, up to `limit`.

    The documents that were encoded are searched, in Arrow; which of them lie in the shards is known by hash.
    """
    folder = shard_folder(out, split)
    found = list(itertools.islice(_in_split(out, split, text), limit))
    if not found:
        raise UsageError(f"no document in `{folder}` holds {text!r}")
    return found


def trace_step(out: Path, step: int, limit: int) -> tuple[int, list[Traced]]:
    """Trace the documents that a training step read, up to `limit`, and say how many there are.

    `out` is a recipe's run, or a trainer's run folder; of shards that no recipe's run wrote only the ids are
    known.
    """
    from gristmill.pipeline.phases.train import RUN
    from gristmill.trainer.data.documents import documents_of_step

    shards, found = documents_of_step(result_of(out, "train", RUN), step)
    try:
        run = run_of(shards.folder)
    except UsageError:
        run = None
    traced = []
    for document in found[:limit]:
        place = {"step": step, "document": f"{document.shard}:{document.row}", "source": document.source}
        unknown = Life(document.name, document.id or None, None, "its shards lie in no run of gristmill", [])
        known = run is not None and document.id
        traced.append(Traced(place, look_up(run, document.id) if run and known else unknown))
    return len(found), traced


def shard_folder(out: Path, split: str) -> Path:
    """Where the shards of a run's split lie."""
    steps = finished_steps(out)
    if "mix" not in steps:
        raise UsageError(f"`{out}` holds no shards", hint="run its recipe up to `mix`")
    folder = steps["mix"].folder / "shards" / split
    if not folder.is_dir():
        raise UsageError(
            f"`--split` must be one of {', '.join(steps['mix'].stated(MixFacts).places)}, got {split!r}"
        )
    return folder


def _in_split(out: Path, split: str, text: str) -> Iterator[Traced]:
    for id_, excerpt in _holding(out, text):
        life = look_up(out, id_.hex())
        if any(event.outcome == "in shard" and event.facts["split"] == split for event in life.events):
            yield Traced({"text": excerpt}, life)


def _holding(out: Path, text: str) -> Iterator[tuple[bytes, str]]:
    """The documents a run ends with that hold a text, with what stands around it."""
    import pyarrow.compute as pc

    from gristmill.pipeline.look.search import holding
    from gristmill.pipeline.run.records.final import final_documents

    by_index = False
    for hit in holding(out, text, outlet="documents"):
        row = hit.read(("id", "text"))
        at = row["text"].find(text)
        by_index = True
        yield row["id"], row["text"][max(0, at - 100) : at + 200]
    for part in final_documents(finished_steps(out)) if not by_index else ():
        for path, _ in part.files:
            for table in read_tables(path, ["id", "text"]):
                for row in table.filter(
                    pc.fill_null(pc.match_substring(table["text"], text), False)
                ).to_pylist():
                    at = row["text"].find(text)
                    yield row["id"], row["text"][max(0, at - 100) : at + 200]
