"""Read a shard: every record, every thing that is none, every loss, in order.

for item in read_records(shard, settings):
    match item: Record | NotDocument | Failure | RangeEnd
"""

from __future__ import annotations

from collections.abc import Iterator

from gristmill.pipeline.sources.format import known_formats
from gristmill.pipeline.sources.record import InputShard, Item, RangeEnd, Record
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.pipeline.sources.window import open_window


def read_records(shard: InputShard, settings: SourceSettings) -> Iterator[Item]:
    """Yield the items of a shard; with a limit, stop after that many records that can become documents."""
    num_records = 0
    read = known_formats()[shard.format].read
    for source in shard.ranges:
        with open_window(source, settings) as window:
            for item in read(window, source, settings):
                yield item
                num_records += isinstance(item, Record)
                if num_records == shard.limit:
                    yield RangeEnd(source.shown, source.start, source.end, source.start, source.end)
                    return
