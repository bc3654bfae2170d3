"""Keys of an object store: those that a glob names, whatever letters they hold."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gristmill.errors import UsageError
from gristmill.files.remote import Access
from gristmill.pipeline.sources.remote import list_remote
from tests.support.counting_store import CountingStore, counting_store

ACCESS = Access({"key": "x", "secret": "y", "skip_instance_cache": True})
KEYS = (
    *("odd/a b/x y.gz", "odd/br[1]/a[0].gz", "odd/q?mark/w?.gz", "odd/star*dir/s*.gz", "odd/deep/1/2.gz"),
    *("odd/both.gz", "odd/both.gz/inner.gz", "odd/folder/", "odd/folder/in.gz", "odd/dbl//slash.gz"),
)


@pytest.fixture
def store() -> Iterator[CountingStore]:
    with counting_store() as found:
        found.objects = {key: b"" if key.endswith("/") else b"x" for key in KEYS}
        yield found


def listed(pattern: str) -> list[str]:
    return sorted(
        file.path.removeprefix("s3://mill/odd/") for file in list_remote(f"s3://mill/{pattern}", ACCESS)
    )


def test_a_key_that_others_begin_with_is_an_input_as_well(store: CountingStore) -> None:
    assert listed("odd/*.gz") == ["both.gz"]
    assert listed("odd/both.gz") == ["both.gz"]
    assert listed("odd/*/in*.gz") == ["both.gz/inner.gz", "folder/in.gz"]


def test_letters_that_globs_use_are_letters_where_such_a_key_is_there(store: CountingStore) -> None:
    for key in ("br[1]/a[0].gz", "q?mark/w?.gz", "star*dir/s*.gz", "a b/x y.gz"):
        assert listed(f"odd/{key}") == [key]


def test_a_folder_whose_name_holds_a_mark_is_a_folder(store: CountingStore) -> None:
    store.objects["odd/br[1]/.hidden.gz"] = b"x"
    for folder, key in (("br[1]", "a[0].gz"), ("star*dir/", "s*.gz")):
        (found,) = list_remote(f"s3://mill/odd/{folder}", ACCESS, lambda names: names)
        assert found.path == f"s3://mill/odd/{folder.rstrip('/')}/{key}"
    store.objects["odd/br1"] = b"x"  # what the glob would match
    found = list_remote("s3://mill/odd/br[1]", ACCESS, lambda names: names)
    assert [file.path for file in found] == ["s3://mill/odd/br[1]/a[0].gz"]
    assert [file.path for file in list_remote("s3://mill/odd/br[1]", ACCESS)] == ["s3://mill/odd/br1"]


def test_two_stars_match_at_any_depth_and_markers_of_folders_are_no_inputs(store: CountingStore) -> None:
    found = listed("odd/**/*.gz")
    assert len(found) == 9 and "folder/" not in found
    assert listed("odd/deep/**") == ["deep/1/2.gz"]


def test_a_glob_lists_by_the_thousand_and_what_matches_nothing_says_so(store: CountingStore) -> None:
    store.objects |= {f"many/{number:05d}.gz": b"x" for number in range(2500)}
    store.take()
    assert len(listed("many/*.gz")) == 2500
    assert store.take()["list_objects_v2"] <= 4
    with pytest.raises(UsageError, match="no object matches an input"):
        listed("odd/*.warc")
