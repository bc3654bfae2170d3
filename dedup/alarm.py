"""The wipe-out alarm: a source that loses nearly everything to deduplication is more often a mistake than a
find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gristmill.dedup.settings.documents import ExactSettings
from gristmill.dedup.settings.near import FuzzySettings, SemanticSettings
from gristmill.errors import GristmillError

_SHOWN = 5


def check_losses(
    settings: ExactSettings | FuzzySettings | SemanticSettings,
    what: str,
    entered: Mapping[str, int],
    removed: Mapping[str, int],
    largest: Iterable[tuple[str, int]],
) -> None:
    """Raise when a source of some size lost more than `alarm_fraction` of its documents, unless that is
    allowed.

    `largest` are (survivor's id, cluster size); the largest are shown.
    """
    lost = [
        f"`{source}` loses {removed.get(source, 0):,} of {count:,} documents"
        f" ({removed.get(source, 0) / count:.1%})"
        for source, count in sorted(entered.items())
        if count >= settings.alarm_documents and removed.get(source, 0) > settings.alarm_fraction * count
    ]
    if not lost or settings.allow_wipe_out:
        return
    clusters = sorted(largest, key=lambda cluster: (-cluster[1], cluster[0]))[:_SHOWN]
    shown = "".join(f"\n  {size:,} documents stand behind {survivor}" for survivor, size in clusters)
    raise GristmillError(
        f"{what} would wipe out a source: {'; '.join(lost)}; the bound is"
        f" {settings.alarm_fraction:.0%}{shown}",
        hint=(
            "look at the clusters; then allow it with `allow_wipe_out: true`, raise `alarm_fraction`, or use"
            " `mode: mark`"
        ),
    )
