"""What a run's tokens lost or missed, in a line each, for whoever watches the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gristmill.manifest import Manifest
from gristmill.pipeline.stages.mix import MixFacts
from gristmill.pipeline.stages.tokenizer import EncodeFacts, TokenizerFacts


def said_of_tokens(manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Documents that no encoder takes, texts that do not come back, and sources that are off their share."""
    for name, manifest in manifests.items():
        encoded = manifest.stated(EncodeFacts)
        losses = encoded.losses
        if losses.get("lossy"):
            kinds = [
                f"{kind} {number:,}" for kind, number in losses.items() if kind not in ("checked", "lossy")
            ]
            yield (
                f"{name}: {losses['lossy']:,} of {losses['checked']:,} documents checked do not come back"
                f" their tokens: {', '.join(kinds)}"
            )
        for why in encoded.encoders_why:
            yield f"{name}: encoded by {', '.join(encoded.encoders)}: {why}"
        if losses and encoded.failed:
            yield f"{name}: no encoder takes {encoded.failed:,} documents"
        for source, (has, asked) in manifest.stated(TokenizerFacts).sample_missed.items():
            yield f"{name}: {source} is {has:.1%} of the sample it is trained on, {asked:.1%} of the mixture"
        for line in manifest.stated(MixFacts).misses:
            yield f"{name}: {line}"
