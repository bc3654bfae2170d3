import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gristmill.errors import BooksError, DamageError, GristmillError, LockedError
from gristmill.files.lock import hold_lock
from gristmill.hashing import digest16, uniform
from gristmill.index import find_rows, write_index
from gristmill.ledger import Books


def ids(n: int) -> pa.Array:
    return pa.array([digest16(str(i)) for i in range(n)], pa.binary(16))


def test_books_that_lose_a_document_or_a_byte_do_not_balance() -> None:
    books = Books(2, 20)
    books.items_out.update(kept=1)
    with pytest.raises(BooksError, match=re.escape("2 items came in, 1 went out (kept 1)")):
        books.balance("filter")
    books.items_out.update(kept=1)
    books.bytes_out.update(kept=12, deleted=9)
    books.inserted_bytes = 1
    books.balance("filter")
    books.bytes_out["deleted"] += 1
    with pytest.raises(BooksError, match="20 bytes came in, 21 went out"):
        books.balance("filter")


def test_every_removed_document_needs_a_rule() -> None:
    books = Books(1, 0)
    books.items_out.update(removed=1)
    with pytest.raises(BooksError, match="1 items removed, but 0 with a reason"):
        books.balance("filter")


def test_a_draw_depends_on_seed_purpose_and_id_and_nothing_else() -> None:
    all_ids = ids(1000)
    draws = uniform(1, "pareto", all_ids)
    assert np.array_equal(draws[500:], uniform(1, "pareto", all_ids[500:]))
    assert np.array_equal(draws[::-1], uniform(1, "pareto", all_ids.take(pa.array(range(999, -1, -1)))))
    assert not np.array_equal(draws, uniform(2, "pareto", all_ids))
    assert not np.array_equal(draws, uniform(1, "other", all_ids))
    assert 0.45 < draws.mean() < 0.55 and draws.min() >= 0 and draws.max() < 1


def test_the_sidecar_finds_every_id_and_no_other(tmp_path: Path) -> None:
    keys = pa.concat_arrays([ids(500), ids(3), pa.array([None], pa.binary(16))])
    assert write_index(tmp_path / "x.idx", keys) == 503
    assert find_rows(tmp_path / "x.idx", digest16("2")) == [2, 502]
    assert find_rows(tmp_path / "x.idx", digest16("499")) == [499]
    assert find_rows(tmp_path / "x.idx", digest16("absent")) == []
    assert write_index(tmp_path / "empty.idx", pa.array([], pa.binary(16))) == 0
    assert find_rows(tmp_path / "empty.idx", digest16("0")) == []


def test_a_second_run_in_the_same_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    with (
        hold_lock(tmp_path),
        pytest.raises(LockedError, match=r"in use by a run with pid \d+ on "),
        hold_lock(tmp_path),
    ):
        pass
    with hold_lock(tmp_path):
        pass


def test_an_error_survives_the_way_home_from_a_worker() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(DamageError("cut short", where="a.warc.gz@12", hint="fetch it again")))
    assert str(error) == "cut short\n  --> a.warc.gz@12\nhint: fetch it again"
    assert isinstance(error, GristmillError)
