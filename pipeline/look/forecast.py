"""What a mixture would take of each source, said before any work: exact where sources are encoded, else
estimated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from gristmill.errors import UsageError
from gristmill.files.parquet import read_parquet
from gristmill.heldout import is_heldout
from gristmill.manifest import Manifest
from gristmill.pipeline.look.printing.tables import print_table
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.folder import RUN_FILE, finished_steps
from gristmill.pipeline.run.records.final import final_documents
from gristmill.pipeline.run.runner import states
from gristmill.tokenize.mixing.plan import MixPlan, Size, make_plan
from gristmill.tokenize.settings import MixSettings

Estimated = Callable[[], Mapping[str, Size]]

# LLaMA's tokenizer on its own mixture: 4,749 GB for 1.4T tokens is 3.4; web text alone is nearer 4.
BYTES_PER_TOKEN = 4.0


def print_plan(recipe: Recipe, out: Path, estimated: Estimated, *, as_json: bool) -> None:
    """Print LLaMA's table 1 for a recipe; raises RecipeError for what cannot be met, with the largest budget
    that can. `estimated` tells the sizes of sources whose documents are not there yet."""
    sizes, exact = known_sizes(recipe, out, estimated)
    plan = make_plan(_mix(recipe), sizes)
    if as_json:
        print(json.dumps({"tokens": plan.tokens, "exact": exact, "sources": plan.table()}))
    else:
        _print(plan, exact)


def known_sizes(recipe: Recipe, out: Path, estimated: Estimated) -> tuple[dict[str, Size], bool]:
    """What each source holds for training: from encoded files, else from the bytes of its documents so
    far, else from a sample."""
    mix = _mix(recipe)
    manifests = {
        state.step.name: state.manifest
        for state in states(build_plan(recipe, "encode"), out)
        if state.manifest
    }
    encoded = {
        name.removeprefix("encode/"): manifest
        for name, manifest in manifests.items()
        if name.startswith("encode/")
    }
    documents = (
        {part.source: part for part in final_documents(finished_steps(out))}
        if (out / RUN_FILE).exists()
        else {}
    )
    sizes: dict[str, Size] = {}
    exact = True
    names = list(mix.proportions or documents or recipe.sources)
    of_sample = {} if all(name in encoded or name in documents for name in names) else estimated()
    if of_sample and not mix.proportions:
        names = list({**dict.fromkeys(name for name in names if name in of_sample), **of_sample})
    for source in names:
        if source in encoded:
            sizes[source] = _encoded_size(mix, encoded[source], recipe.seed)
        elif source in documents:
            exact = False
            sizes[source] = document_size([path for path, _ in documents[source].files])
        elif source in of_sample and of_sample[source].tokens:
            exact = False
            sizes[source] = of_sample[source]
        else:
            raise UsageError(
                f"nothing of the source `{source}` is left in a sample of it",
                hint="`gristmill plan --estimate` says which step removes its documents",
            )
    return sizes, exact


def _mix(recipe: Recipe) -> MixSettings:
    settings = recipe.section(MixSettings)
    if settings is None:
        raise UsageError("the recipe has no `mix` section", hint="give it `mix: {tokens: ...}`")
    return settings


def _encoded_size(settings: MixSettings, manifest: Manifest, seed: int) -> Size:
    docs = tokens = num_bytes = 0
    for path in manifest.paths("token-index"):
        table = read_parquet(path, columns=["unit", "tokens", "bytes"])
        mine = ~is_heldout(seed, settings.heldout_fraction, table["unit"].combine_chunks())
        docs += int(mine.sum())
        tokens += int(table["tokens"].to_numpy()[mine].sum(dtype=np.int64))
        num_bytes += int(table["bytes"].to_numpy()[mine].sum(dtype=np.int64))
    return Size(docs, tokens, num_bytes)


def document_size(paths: list[Path]) -> Size:
    """From the footers alone: rows and the uncompressed bytes of the text column."""
    docs = num_bytes = 0
    for path in paths:
        footer = pq.read_metadata(path)
        docs += footer.num_rows
        for group in range(footer.num_row_groups):
            columns = (footer.row_group(group).column(number) for number in range(footer.num_columns))
            num_bytes += sum(
                column.total_uncompressed_size for column in columns if column.path_in_schema == "text"
            )
    return Size(docs, int(num_bytes / BYTES_PER_TOKEN) + docs, num_bytes)


def _print(plan: MixPlan, exact: bool) -> None:
    about = "" if exact else "~"
    rows = [
        [
            row.source,
            f"{row.proportion:.2%}",
            f"{about}{row.epochs:.2f}",
            f"{row.tokens:,}",
            f"{about}{row.size.bytes:,}",
        ]
        for row in plan.rows
    ]
    rows.append(
        ["all", "100.00%", "", f"{plan.tokens:,}", f"{about}{sum(row.size.bytes for row in plan.rows):,}"]
    )
    print_table(["source", "proportion", "epochs", "tokens", "bytes"], rows, right=(1, 2, 3, 4))
    if not exact:
        print(f"~ estimated at {BYTES_PER_TOKEN:g} bytes per token: not every source is encoded yet")
