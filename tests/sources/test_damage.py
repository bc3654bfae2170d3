"""Broken archives: whole records before and after the damage come out, each loss is counted where it lies."""

from __future__ import annotations

import contextlib
import gzip
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from gristmill.pipeline.sources.plan import check_ranges_meet
from gristmill.pipeline.sources.record import Item, RangeEnd
from tests.support.archives import ends, failures, http, member, page, read_all, read_split, record, records

NUM_RECORDS = 40
RAW = [record(number, http(page(number, 3 + number % 5))) for number in range(NUM_RECORDS)]
MEMBERS = [member(data) for data in RAW]
PLACES = {"first": 0, "middle": 17, "last": NUM_RECORDS - 1}

# A damage takes the stored records and returns the broken file and the numbers of the records that are no
# longer whole.
Damage = Callable[[list[bytes]], tuple[bytes, set[int]]]


def cut_at(number: int, offset: int) -> Damage:
    """End the file `offset` bytes into a record (from its end if negative)."""

    def damage(parts: list[bytes]) -> tuple[bytes, set[int]]:
        part = parts[number]
        at = offset if offset >= 0 else len(part) + offset
        return b"".join(parts[:number]) + part[:at], set(range(number, len(parts)))

    return damage


def overwrite(number: int, offset: int, data: bytes) -> Damage:
    def damage(parts: list[bytes]) -> tuple[bytes, set[int]]:
        parts = list(parts)
        part = parts[number]
        at = offset if offset >= 0 else len(part) + offset
        parts[number] = part[:at] + data + part[at + len(data) :]
        return b"".join(parts), {number}

    return damage


def flip(number: int, offset: int) -> Damage:
    def damage(parts: list[bytes]) -> tuple[bytes, set[int]]:
        part = bytearray(parts[number])
        part[offset] ^= 0x10
        return b"".join([*parts[:number], bytes(part), *parts[number + 1 :]]), {number}

    return damage


def insert(number: int, data: bytes) -> Damage:
    """Put bytes between two records."""
    return lambda parts: (b"".join([*parts[:number], data, *parts[number:]]), set())


def remove(number: int, start: int, length: int) -> Damage:
    def damage(parts: list[bytes]) -> tuple[bytes, set[int]]:
        part = parts[number]
        return b"".join([*parts[:number], part[:start] + part[start + length :], *parts[number + 1 :]]), {
            number
        }

    return damage


def zero_run(first: int, last: int) -> Damage:
    """A hole of zeros from inside one record into another, as a crashed disk leaves it."""

    def damage(parts: list[bytes]) -> tuple[bytes, set[int]]:
        data = bytearray(b"".join(parts))
        start = sum(map(len, parts[:first])) + 40
        end = sum(map(len, parts[:last])) + 40
        data[start:end] = bytes(end - start)
        return bytes(data), set(range(first, last + 1))

    return damage


def wrong_length(number: int, by: int) -> Damage:
    """Write a record whose header promises another length."""

    def damage(parts: list[bytes]) -> tuple[bytes, set[int]]:
        block = http(page(number, 3 + number % 5))
        broken = member(record(number, block, length=len(block) + by))
        return b"".join([*parts[:number], broken, *parts[number + 1 :]]), {number}

    return damage


NOISE = random.Random(7).randbytes(3000)
FALSE_MAGIC = b"\x1f\x8b\x08\x00" + bytes(6) + NOISE[:500]
NESTED = member(b"a compressed page, no record at all" * 20)


def everywhere(name: str, damage: Callable[[int, int], Damage], *offsets: int) -> dict[str, Damage]:
    """The same damage to the first, a middle and the last record."""
    return {
        f"{name} {at} of the {where} record": damage(number, at)
        for where, number in PLACES.items()
        for at in offsets
    }


GZIP_DAMAGE: dict[str, Damage] = {
    **everywhere("cut at byte", cut_at, 1, 5, 10, 100, -8, -4, -1),
    **everywhere("flipped byte", flip, 0, 2, 150, -6, -2),  # magic, method, data, checksum, length
    "zeros over three members": zero_run(10, 13),
    "zeros inside one member": overwrite(20, 60, bytes(80)),
    "noise over a member": overwrite(8, 0, NOISE[: len(MEMBERS[8])]),
    "zeros between members": insert(9, bytes(1024)),
    "noise between members": insert(9, NOISE),
    "a false magic between members": insert(9, FALSE_MAGIC),
    "a member that holds no record": insert(9, NESTED),
    "noise before the first member": insert(0, NOISE),
    "noise behind the last member": insert(NUM_RECORDS, NOISE),
    "zeros behind the last member": insert(NUM_RECORDS, bytes(5000)),
    "bytes missing inside a member": remove(12, 30, 50),
    "the start of a member missing": remove(12, 0, 10),
    "the end of a member missing": remove(12, len(MEMBERS[12]) - 20, 20),
    "a length too long": wrong_length(5, 100),
    "a length far too long": wrong_length(5, 10_000_000),
    "an empty member": insert(9, member(b"")),
}  # fmt: skip
assert len(GZIP_DAMAGE) >= 40


def assert_tiled(items: list[Item], size: int) -> None:
    """Every byte of the file belongs to exactly one record or one loss."""
    spans = sorted(
        (item.origin.offset, item.origin.length) for item in items if not isinstance(item, RangeEnd)
    )
    at = 0
    for offset, length in spans:
        assert offset == at, f"nobody owns, or two own, bytes from {min(at, offset)}"
        at = offset + length
    assert at == size


def check(path: Path, lost: set[int], is_loss: bool = True) -> None:
    items = read_all(path)
    found = {int(item.key[10:-1], 16): item for item in records(items)}
    whole = set(range(NUM_RECORDS)) - lost
    assert set(found) == whole, f"missing {sorted(whole - set(found))}, broken {sorted(set(found) - whole)}"
    for number, item in found.items():
        assert item.payload == page(number, 3 + number % 5)
    if is_loss:
        assert failures(items)
        size = path.stat().st_size
        for failure in failures(items):
            assert 0 <= failure.origin.offset <= failure.origin.offset + failure.origin.length <= size
            assert failure.origin.length > 0
            assert failure.message
        assert_tiled(items, size)
    split = read_split(path, 3000)
    assert {item.key for item in records(split)} == {item.key for item in records(items)}
    assert {(item.error, item.origin) for item in failures(split)} == {
        (item.error, item.origin) for item in failures(items)
    }
    check_ranges_meet(ends(split))


@pytest.mark.parametrize("name", GZIP_DAMAGE)
def test_all_whole_records_of_a_damaged_gzip_archive_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "broken.warc.gz"
    data, lost = GZIP_DAMAGE[name](MEMBERS)
    path.write_bytes(data)
    check(path, lost, is_loss=name != "an empty member")


PLAIN_DAMAGE: dict[str, Damage] = {
    **everywhere("cut at byte", cut_at, 3, 60, 330, -30),
    "junk between records": insert(9, b"some line\r\nthat is none\r\n\r\n"),
    "zeros between records": insert(9, bytes(700) + b"\r\n\r\n"),
    "a header without its version": remove(9, 0, 8),
    "a header without its length": overwrite(9, RAW[9].index(b"Content-Length"), b"Kontent"),
    "bytes missing inside a block": remove(12, 400, 30),
    "bytes too many inside a block": overwrite(12, 400, b"x" * 30 + RAW[12][400:]),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN_DAMAGE)
def test_records_around_the_damage_of_a_plain_archive_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "broken.warc"
    data, lost = PLAIN_DAMAGE[name](RAW)
    path.write_bytes(data)
    items = read_all(path)
    found = {int(item.key[10:-1], 16) for item in records(items)}
    # A block of the wrong size still is a record: what it lacks or has too much is junk behind it.
    assert set(range(NUM_RECORDS)) - lost <= found
    assert found - set(range(NUM_RECORDS)) == set()
    assert failures(items)
    check_ranges_meet(ends(read_split(path, 3000)))


def test_a_damaged_zstd_archive_is_read_around_the_damage(tmp_path: Path) -> None:
    frames = [zstandard.ZstdCompressor(write_checksum=True).compress(data) for data in RAW]
    for number, name in enumerate(("flip", "cut", "noise")):
        path = tmp_path / f"{name}.warc.zst"
        data, lost = [flip(7, 100), cut_at(30, 50), insert(4, NOISE)][number](frames)
        path.write_bytes(data)
        check(path, lost)


def test_a_gzip_archive_in_one_member_is_kept_up_to_its_damage(tmp_path: Path) -> None:
    path = tmp_path / "one.warc.gz"
    data = member(b"".join(RAW))
    path.write_bytes(data[: len(data) // 2])
    items = read_all(path)
    assert len(records(items)) > 5
    (failure,) = failures(items)
    assert failure.error == "truncated"


def test_a_gzip_bomb_is_one_failure_and_the_records_around_it_are_read(tmp_path: Path) -> None:
    bomb = gzip.compress(record(99, bytes(24 << 20)), 9, mtime=0)
    header_bomb = gzip.compress(b"WARC/1.0\r\nX: " + b"x" * (24 << 20), 9, mtime=0)
    path = tmp_path / "bomb.warc.gz"
    path.write_bytes(b"".join([*MEMBERS[:5], bomb, header_bomb, *MEMBERS[5:]]))
    items = read_all(path, max_record_bytes=1 << 20)
    assert len(records(items)) == NUM_RECORDS
    assert [failure.error for failure in failures(items)] == ["too_large", "bad_header"]


def test_an_archive_inside_a_page_is_not_taken_for_records(tmp_path: Path) -> None:
    """A page that shows a WARC record, and one that is a compressed archive."""
    blocks = [
        http(b"<pre>\r\n\r\n" + record(77) + b"</pre>"),
        http(member(record(78)), content_type="application/gzip"),
    ]
    path = tmp_path / "nested.warc.gz"
    path.write_bytes(
        b"".join(member(record(number, block)) for number, block in enumerate(blocks)) + MEMBERS[2]
    )
    assert len(records(read_all(path))) == 3
    plain = tmp_path / "nested.warc"
    plain.write_bytes(b"".join(record(number, block) for number, block in enumerate(blocks)) + RAW[2])
    assert len(records(read_all(plain))) == 3


@pytest.mark.slow
def test_every_cut_and_every_flipped_byte_leaves_the_other_records_whole(tmp_path: Path) -> None:
    parts = MEMBERS[:4]
    ends_at = [sum(map(len, parts[: n + 1])) for n in range(4)]
    path = tmp_path / "broken.warc.gz"
    data = b"".join(parts)
    for at in range(len(data)):
        hit = next(n for n in range(4) if at < ends_at[n])
        path.write_bytes(data[:at])
        assert len(records(read_all(path))) == hit
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        found = {int(item.key[10:-1], 16) for item in records(read_all(path))}
        assert {0, 1, 2, 3} - found <= {hit}


def test_all_genuine_archives_are_read_to_their_end(shared_data: Path) -> None:
    from fastwarc.warc import ArchiveIterator

    num_files = num_records = num_peer = 0
    for path in sorted((shared_data / "genuine").rglob("*")):
        if path.is_dir() or path.suffix == ".tsv":
            continue
        items = read_all(path, "arc" if ".arc" in path.name else "warc")
        (end,) = ends(items)
        assert (end.first, end.next) == (0, path.stat().st_size)
        num_files += 1
        num_records += len(items) - 1 - len(failures(items))
        with path.open("rb") as file, contextlib.suppress(OSError):
            num_peer += sum(1 for _ in ArchiveIterator(file, parse_http=False))
    assert num_files == 126
    assert num_records > num_peer
