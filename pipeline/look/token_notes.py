"""What a run's tokens lost or missed, in a line each, for whoever watches the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gristmill.manifest import Manifest


def said_of_tokens(manifests: Mapping[str, Manifest]) -> Iterator[str]:
    """Documents that no encoder takes, texts that do not come back, and sources that are off their share."""
    for name, manifest in manifests.items():
        extra = manifest.extra
        losses = extra.get("losses") or {}
        if losses.get("lossy"):
            kinds = [
                f"{kind} {number:,}" for kind, number in losses.items() if kind not in ("checked", "lossy")
            ]
            yield (
                f"{name}: {losses['lossy']:,} of {losses['checked']:,} documents checked do not come back"
                f" their tokens: {', '.join(kinds)}"
            )
        for why in extra.get("encoders_why") or ():
            yield f"{name}: encoded by {', '.join(extra['encoders'])}: {why}"
        if extra.get("losses") and extra.get("failed"):
            yield f"{name}: no encoder takes {extra['failed']:,} documents"
        for source, (has, asked) in (extra.get("sample_missed") or {}).items():
            yield f"{name}: {source} is {has:.1%} of the sample it is trained on, {asked:.1%} of the mixture"
        for line in extra.get("misses") or ():
            yield f"{name}: {line}"
