"""What a stranger's Arrow or Parquet file may cost: checked before any of its cells is looked at.

An Arrow file is memory as it lies: an offset or a place in a dictionary that leads out of its buffer would
end the process. A dictionary, a run or a view holds a value once for any number of rows: spelled out, a
thousand bytes of file are gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from gristmill.pipeline.sources.window import ByteWindow

BATCH_BYTES = 8 << 20
MAX_BATCH_ROWS = 4096
MAX_SPELLED_BYTES = 64 << 20  # of a batch, every value counted as often as it stands there
_FREE_ROWS = 1 << 20
_ROWS_PER_BYTE = 64
_DICTIONARY_PAGE = 2
_HEAD_BYTES = 32  # of a page, which begins with its type and its size


def batch_rows(num_rows: int, size: int) -> int:
    """Return how many rows to read at a time of so many, in so many bytes: some megabytes of them."""
    return max(1, min(MAX_BATCH_ROWS, BATCH_BYTES * num_rows // max(size, 1)))


def too_many_rows(num_rows: int, num_bytes: int, what: str = "rows") -> str | None:
    """Say so where a file claims more rows than its bytes can stand for: each would be a failure of its own.

    Columns of one value take next to no bytes a row; a text of each row takes some.
    """
    if num_rows <= _FREE_ROWS + _ROWS_PER_BYTE * num_bytes:
        return None
    return f"{num_rows:,} {what} are claimed by a file of {num_bytes:,} bytes"


def columns_below(group: Any, names: Sequence[str]) -> list[Any]:
    """Return the columns of a Parquet row group that lie in those of these names."""
    columns = [group.column(number) for number in range(group.num_columns)]
    return [one for one in columns if any(f"{one.path_in_schema}.".startswith(f"{name}.") for name in names)]


def large_dictionaries(window: ByteWindow, columns: Sequence[Any], num_rows: int) -> list[str]:
    """Return the paths of the columns whose dictionaries could make a batch of so many rows too large: they
    are read as dictionaries, and spelled out a part at a time."""
    sizes = {one.path_in_schema: _dictionary_bytes(window, one) for one in columns}
    most = MAX_SPELLED_BYTES // max(num_rows, 1)
    return [path for path, size in sizes.items() if size > most]


def with_long_entries(first: pa.RecordBatch | None, paths: Sequence[str], num_rows: int) -> list[str]:
    """Return those of some columns whose longest entry, in each of so many rows, would make a batch too
    large. `first` holds a row of them, read with their dictionaries.

    Most writers begin a column of texts with a dictionary of a megabyte: to read all of it as such takes two
    and a half times as long as to read it plain.
    """
    most = MAX_SPELLED_BYTES // max(num_rows, 1)

    def is_short(path: str) -> bool:
        if first is None or path not in first.schema.names:  # of a nested column the entries lie deeper
            return False
        values = first.column(path)
        if not pa.types.is_dictionary(values.type):
            return False
        return (pc.max(pc.binary_length(values.dictionary)).as_py() or 0) <= most

    return [path for path in paths if not is_short(path)]


def _dictionary_bytes(window: ByteWindow, chunk: Any) -> int:
    """Return what the dictionary of a column of a Parquet row group inflates to, 0 where it has none.

    Its page says so itself, in the two first fields of its header (Thrift's compact protocol), by which
    Arrow goes, too; what the footer says of sizes binds nobody.
    """
    starts = (chunk.data_page_offset, chunk.dictionary_page_offset)
    head = window.read_exactly(min(start for start in starts if start is not None), _HEAD_BYTES)
    fields, at = [], 0
    for _ in range(2):
        number, shift = 0, 0
        at += 1  # a field's number and type: always i32
        while at < len(head):
            number |= (head[at] & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if head[at - 1] < 0x80:
                break
        fields.append((number >> 1) ^ -(number & 1))
    kind, size = fields
    return max(size, 0) if kind == _DICTIONARY_PAGE else 0


def check_sound(batch: pa.RecordBatch) -> None:
    """Raise ArrowInvalid where anything in a batch leads out of its buffers; a text that is no UTF-8 does
    not."""
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for column in batch.columns:
            _check(column)


def _check(values: pa.Array) -> None:
    """Check an array but for its texts: nested ones without what is below them, then that."""
    kind, size = values.type, len(values)
    values.validate()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        as_bytes = pa.binary() if pa.types.is_string(kind) else pa.large_binary()
        pa.Array.from_buffers(as_bytes, size, values.buffers(), offset=values.offset).validate(full=True)
        return
    below = _below(values)
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        bare = pa.large_list(pa.null()) if pa.types.is_large_list(kind) else pa.list_(pa.null())
        children = [pa.nulls(len(below[0]))]
        pa.Array.from_buffers(
            bare, size, values.buffers()[:2], offset=values.offset, children=children
        ).validate(full=True)
    elif pa.types.is_dictionary(kind):
        pa.DictionaryArray.from_arrays(values.indices, pa.nulls(len(below[0])), safe=False).validate(
            full=True
        )
    elif not (pa.types.is_struct(kind) or pa.types.is_fixed_size_list(kind)):
        values.validate(full=True)
    for each in below:
        _check(each)


def cut_by_size(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch | int]:
    """Cut a batch so that no part spells out to more than `MAX_SPELLED_BYTES`; a row that alone does comes
    out as its size."""
    size = sum(map(_spelled_bytes, batch.columns))
    if size <= MAX_SPELLED_BYTES:
        yield batch
    elif batch.num_rows == 1:
        yield size
    else:
        half = batch.num_rows // 2
        yield from cut_by_size(batch.slice(0, half))
        yield from cut_by_size(batch.slice(half))


def _spelled_bytes(values: pa.Array) -> int:
    """Return a bound on the bytes of an array in which each value stands as often as rows refer to it."""
    kind, below = values.type, _below(values)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind) or _is_view(kind):
        return len(values) * (_widest(below[0]) if below else _widest(values))
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if not len(values):
            return 0
        start, end = values.offsets[0].as_py(), values.offsets[-1].as_py()
        below = [each.slice(start, end - start) for each in below]
    return sum(map(_spelled_bytes, below)) if below else int(values.nbytes)


def _widest(values: pa.Array) -> int:
    """Return a bound on the bytes of the largest value of an array."""
    if any(of(values.type) for of in _WITH_LENGTHS):
        return int(pc.max(pc.binary_length(values)).as_py() or 0)
    if pa.types.is_primitive(values.type):
        return 32
    return _spelled_bytes(values) if _below(values) else int(values.nbytes)


def _below(values: pa.Array) -> Sequence[pa.Array]:
    """The arrays that a nested one, or one that refers to values, is made of; none of a plain one."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return (values.storage,)
    if pa.types.is_struct(kind) or pa.types.is_union(kind):
        return [values.field(number) for number in range(kind.num_fields)]
    if pa.types.is_map(kind):
        return values.keys, values.items
    if pa.types.is_dictionary(kind):
        return (values.dictionary,)
    if pa.types.is_fixed_size_list(kind):
        start = values.offset * kind.list_size
        return (values.values.slice(start, len(values) * kind.list_size),)
    return (values.values,) if pa.types.is_run_end_encoded(kind) or pa.types.is_nested(kind) else ()


def _is_view(kind: pa.DataType) -> bool:
    return any(of(kind) for of in _VIEWS)


_WITH_LENGTHS: Sequence[Any] = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary,
)  # fmt: skip
_VIEWS: Sequence[Any] = (
    pa.types.is_string_view, pa.types.is_binary_view, pa.types.is_list_view, pa.types.is_large_list_view,
)  # fmt: skip
