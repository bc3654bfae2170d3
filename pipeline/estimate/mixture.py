"""How much text every source will have left for a mixture, told before any work by milling a sample."""

from __future__ import annotations

import tempfile
from pathlib import Path

from gristmill.pipeline.estimate.sample import choose_samples
from gristmill.pipeline.look.forecast import document_size
from gristmill.pipeline.recipe.model import Recipe
from gristmill.pipeline.recipe.plan import build_plan
from gristmill.pipeline.run.narration.progress import Progress
from gristmill.pipeline.run.records.final import final_documents
from gristmill.pipeline.run.runner import run_plan
from gristmill.pipeline.run.settings import EngineSettings
from gristmill.pipeline.run.stage import sections
from gristmill.tokenize.mixing.plan import Size


def estimated_sizes(recipe: Recipe, engine: EngineSettings, progress: Progress) -> dict[str, Size]:
    """Run a sample up to the documents that are mixed, and scale what is left of it to each whole source."""
    names = [section.name for section in sections()]
    before = names[names.index("tokenizer") - 1]
    samples, sampled = choose_samples(recipe)
    with tempfile.TemporaryDirectory(prefix="gristmill-estimate-") as folder:
        plan = build_plan(recipe, before, samples=samples)
        manifests = run_plan(plan, Path(folder) / "sample", engine, progress).manifests
        sizes = {
            part.source: document_size([path for path, _ in part.files])
            for part in final_documents(manifests)
        }
    found = {}
    for source, size in sizes.items():
        part = sampled[source]
        factor = part.total_bytes / max(1, part.sample_bytes)
        found[source] = Size(*(round(factor * value) for value in (size.docs, size.tokens, size.bytes)))
    return found
