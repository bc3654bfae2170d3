"""Run the phases of a mixture in one process, as the stage does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gristmill.token_shards import MANIFEST, token_dtype
from gristmill.tokenize import shards
from gristmill.tokenize.encoding.tokenizers import Tokenizer, tokenizer_sha256
from gristmill.tokenize.mixing import gather
from gristmill.tokenize.mixing import mix as mixing
from gristmill.tokenize.mixing.gates import SIZES_SHAPE, gates_of
from gristmill.tokenize.mixing.places import Take
from gristmill.tokenize.mixing.plan import MixPlan, Size, make_plan
from gristmill.tokenize.settings import MixSettings


def run_mix(
    files: Mapping[str, Sequence[Any]], settings: MixSettings, tokenizer: Tokenizer, out: Path, seed: int = 1
) -> MixPlan:
    """Mix encoded files into `out/train` and `out/heldout`."""
    out.mkdir(parents=True)
    sizes: dict[str, dict[str, Size]] = {"train": {}, "heldout": {}}
    levels: dict[str, list[Path]] = {}
    for source, parts in files.items():
        found = []
        for number, part in enumerate(parts):
            found.append(mixing.measure(part.index, settings, seed, out / f"{source}-{number}.sizes"))
        sizes["train"][source], sizes["heldout"][source] = (
            Size(*(sum(getattr(size, key) for size in side) for key in ("docs", "tokens", "bytes")))
            for side in ([measured.training for measured in found], [measured.heldout for measured in found])
        )
    plan = make_plan(settings, sizes["train"])
    bounds, gates = {}, {}
    for row in plan.rows:
        name, parts = row.source, files[row.source]
        sizes_by_draw = [np.fromfile(out / f"{name}-{n}.sizes", "<u8") for n in range(len(parts))]
        total = np.asarray(sum(sizes_by_draw), np.uint64).reshape(SIZES_SHAPE)
        gates[name] = gates_of(total, row.size.tokens / row.size.docs)
        for number, part in enumerate(parts):
            levels.setdefault(name, []).append(out / f"{name}-{number}.levels")
            mixing.levels(part.index, settings, name, seed, gates[name], levels[name][-1])
        bounds[name] = mixing.find_bound(
            levels[name], row.tokens, row.size.tokens, weighted=name in settings.weights,
            split=settings.split_documents,
        )  # fmt: skip
    dtype = token_dtype(tokenizer.vocab_size).str
    for split in ("train", "heldout"):
        folder = out / split
        folder.mkdir()
        total = plan.tokens if split == "train" else sum(size.tokens for size in sizes["heldout"].values())
        num_shards = max(1, -(-total // settings.shard_tokens))
        parts = []
        for number, row in enumerate(plan.rows):
            copies = mixing.most_copies(settings, row.source, bounds[row.source]) if split == "train" else 1
            bound = bounds[row.source]
            take = Take(
                row.source, number, split, 0, num_shards, bound.level, copies, tuple(gates[row.source]),
                bound.cut_level, bound.cut_tokens,
            )  # fmt: skip
            for index, part in enumerate(files[row.source]):
                stem = out / f"{split}-{row.source}-{index}"
                mixing.assign(
                    part.payload, part.index, dtype, settings, take, seed, stem, tokenizer.eos_id,
                    lambda ids: len(tokenizer.decode(ids).rstrip("\ufffd").encode()),
                )  # fmt: skip
                parts.append(stem)
        written = [
            gather.write_shard(
                [gather.MapOutput(stem, shard) for stem in parts],
                folder / f"{shard:05d}",
                dtype,
                len(plan.rows),
            )
            for shard in range(num_shards)
        ]
        totals = [
            {
                key: sum(shard["per_source"][key][number] for shard in written)
                for key in ("tokens", "bytes", "docs")
            }
            for number in range(len(plan.rows))
        ]
        sources = [{"name": row.source, **total} for row, total in zip(plan.rows, totals, strict=True)]
        shutil.copy(tokenizer.file, folder / tokenizer.file.name)
        body = shards.manifest_body(
            kind="mixed", vocab=tokenizer.vocab_size, dtype=dtype, eos_id=tokenizer.eos_id, split=split,
            tokenizer_file=tokenizer.file.name, tokenizer_sha256=tokenizer_sha256(tokenizer), sources=sources,
            reading=tokenizer.reading.as_json(),
            shards=[{key: value for key, value in shard.items() if key != "per_source"} for shard in written],
        )  # fmt: skip
        (folder / MANIFEST).write_bytes(body)
    return plan
