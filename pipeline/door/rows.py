"""Rows of a run as tables of whichever library is at hand, read file by file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from gristmill.files.parquet import parquet_schema
from gristmill.files.storage import read_tables

Keep = Callable[[pa.Table], pa.Table]


class Rows:
    """Documents, or what was decided on them: files of one schema, or a table in memory.

    Anything that takes Arrow streams takes it as it is: `pyarrow.table(rows)`, `polars.DataFrame(rows)`,
    DuckDB's queries.
    """

    def __init__(
        self, files: Sequence[Path] = (), table: pa.Table | None = None, keep: Keep | None = None
    ) -> None:
        self.files, self._table, self._keep = tuple(files), table, keep

    @property
    def schema(self) -> pa.Schema:
        """The columns; of no files at all there are none."""
        if self._table is not None:
            return self._table.schema
        return parquet_schema(self.files[0]) if self.files else pa.schema([])

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows in parts of bounded size, in the order of steps, files and rows."""
        if self._table is not None:
            yield self._table
        for path in self.files:
            for table in read_tables(path):
                table = table.select(self.schema.names).cast(self.schema)
                yield self._keep(table) if self._keep else table

    def to_arrow(self) -> pa.Table:
        """Return all rows as one `pyarrow.Table`."""
        found = list(self.tables())
        return pa.concat_tables(found) if found else self.schema.empty_table()

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`; needs pandas."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return a `polars.DataFrame`; needs polars."""
        import polars

        return polars.from_arrow(self.to_arrow())

    def to_dataset(self) -> Any:
        """Return a `datasets.Dataset`; needs Hugging Face's `datasets`."""
        from datasets import Dataset

        return Dataset(self.to_arrow())

    def __len__(self) -> int:
        return sum(table.num_rows for table in self.tables())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield row by row, as plain Python values."""
        for table in self.tables():
            yield from table.to_pylist()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Hand the rows over as the Arrow PyCapsule interface has it."""
        batches = (batch for table in self.tables() for batch in table.to_batches())
        reader = pa.RecordBatchReader.from_batches(self.schema, batches)
        return reader.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        place = f"{len(self.files)} files" if self._table is None else f"{self._table.num_rows:,} rows"
        return f"Rows({place}; {', '.join(self.schema.names)})"
