"""Read a shard: every record, every thing that is none, every loss, in order.

for item in read_records(shard, settings):
    match item: Record | NotDocument | Failure | RangeEnd
for item in read_items(shard, settings):        # the same, with plain rows of texts by columns
    match item: TextRows | Record | NotDocument | Failure | RangeEnd
"""

from __future__ import annotations

from collections.abc import Iterator

from gristmill.pipeline.sources.format import known_formats
from gristmill.pipeline.sources.record import InputShard, Item, RangeEnd, Record
from gristmill.pipeline.sources.rows.text_rows import TextRows
from gristmill.pipeline.sources.settings import SourceSettings
from gristmill.pipeline.sources.window import open_window


def read_items(shard: InputShard, settings: SourceSettings) -> Iterator[Item | TextRows]:
    """Yield the items of a shard; with a limit, stop after that many records that can become documents."""
    num_records = 0
    read = known_formats()[shard.format].read
    for source in shard.ranges:
        with open_window(source, settings) as window:
            for item in read(window, source, settings):
                if isinstance(item, TextRows):
                    if shard.limit is not None and len(item) > shard.limit - num_records:
                        item = item.slice(0, shard.limit - num_records)
                    num_records += len(item)
                elif isinstance(item, Record):
                    num_records += 1
                yield item
                if num_records == shard.limit:
                    yield RangeEnd(source.shown, source.start, source.end, source.start, source.end)
                    return


def read_records(shard: InputShard, settings: SourceSettings) -> Iterator[Item]:
    """Yield the items of a shard with a record for each row."""
    for item in read_items(shard, settings):
        if isinstance(item, TextRows):
            yield from item.records()
        else:
            yield item
