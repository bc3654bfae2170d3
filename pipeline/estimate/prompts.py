"""What a source that a model writes will cost, from the prompts of a sample: no server is asked for that."""

from __future__ import annotations

from gristmill.manifest import Manifest
from gristmill.pipeline.stages.generate import GENERATE, GenerateFacts, GenerateSlice


def prompts_told(name: str, manifest: Manifest, factor: float) -> str | None:
    """Say how many prompts the whole input will make and what they can cost at most; None for other steps."""
    if manifest.ingredients["stage"] != GENERATE.name:
        return None
    facts = manifest.stated(GenerateFacts)
    settings = GenerateSlice.model_validate(manifest.ingredients["settings"]).generate
    most = f"{facts.most_tokens * factor:,.0f} tokens"
    if facts.most_money:
        most += f" or {facts.most_money * factor:,.2f} of money"
    bound = settings.budget.shown()
    held = f"; its budget holds it to {bound}" if bound else ", and no budget holds it"
    return (
        f"{name}: about {facts.prompts * factor:,.0f} prompts to `{settings.server.model}`, {most} at the"
        f" very most{held}. Its answers were stood in for here, and how long the server takes is not known"
    )
