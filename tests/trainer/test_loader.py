"""Shards, order, packing and blending: what is read is what was written, once per epoch, for any number of
ranks."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import mmap
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gristmill.errors import InputError, IntegrityError, UsageError
from gristmill.trainer.config import DataSettings
from gristmill.trainer.data import shards as data_shards
from gristmill.trainer.data.batch import IGNORED, TokenBatch, gather
from gristmill.trainer.data.loader import BatchLoader, prefetch
from gristmill.trainer.data.order import Blend, EpochOrder, Permutation
from gristmill.trainer.data.packing import PackedStream, best_fit, fragment
from gristmill.trainer.data.remote import RemoteShardSet, open_shards
from gristmill.trainer.data.shards import ShardSet, Stream, will_need

ROOT = Path(__file__).parents[2]
Corpus = Callable[..., Path]


def opened(folder: Path) -> ShardSet:
    return open_shards(str(folder), DataSettings(), folder)


@given(st.integers(1, 3000), st.integers(0, 9))
def test_a_permutation_visits_every_index_once(n: int, seed: int) -> None:
    assert sorted(Permutation(n, seed)(np.arange(n)).tolist()) == list(range(n))


def test_permutations_of_other_seeds_and_epochs_differ() -> None:
    order = EpochOrder(500, 1, "x")
    first, second = ([order(i) for i in range(start, start + 500)] for start in (0, 500))
    assert sorted(first) == sorted(second) == list(range(500)) and first != second
    assert first != [EpochOrder(500, 2, "x")(i) for i in range(500)]


def test_a_permutation_is_the_same_on_every_machine() -> None:
    assert Permutation(1000, 7, "golden")(np.arange(6)).tolist() == [439, 985, 231, 607, 12, 603]


def test_grouped_order_stays_inside_a_group_until_it_is_used_up() -> None:
    order = EpochOrder(100, 3, "x", groups=[10, 45, 100])
    seen = [order(i) for i in range(100)]
    assert sorted(seen) == list(range(100))
    groups = [0 if i < 10 else 1 if i < 45 else 2 for i in seen]
    assert sum(a != b for a, b in itertools.pairwise(groups)) == 2


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(0, 4000))
def test_a_blend_is_near_its_weights_after_any_number_of_samples(weights: list[float], number: int) -> None:
    blend = Blend(weights)
    counts = blend.counts(number)
    share = np.asarray(weights) / sum(weights)
    assert counts.sum() == number
    assert (np.abs(counts - share * number) <= (1 + len(weights) * share) / 2 + 1e-6).all()


@pytest.mark.parametrize("weights", [[1.0, 1.0], [0.5, 0.3, 0.2], [0.7, 0.0, 0.1, 0.2]])
def test_a_blend_numbers_each_sources_samples_without_gap_or_repeat(weights: list[float]) -> None:
    blend, seen = Blend(weights), Counter[int]()
    for number in range(500):
        source, nth = blend(number)
        assert nth == seen[source]
        seen[source] += 1


@given(weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=5), first=st.integers(0, 10**9))
def test_a_blend_is_asked_for_many_samples_at_once(weights: list[float], first: int) -> None:
    blend = Blend(weights)
    sources, indices = blend.many(first, 20)
    assert list(zip(sources.tolist(), indices.tolist(), strict=True)) == [blend(first + n) for n in range(20)]


def test_sources_of_equal_weight_take_turns_in_their_order() -> None:
    sources, indices = Blend([1, 1, 1]).many(0, 9)
    assert sources.tolist() == [0, 1, 2] * 3 and indices.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


@pytest.mark.skipif(not hasattr(mmap, "MADV_WILLNEED"), reason="this system takes no such advice")
def test_the_pages_of_a_batch_are_asked_for_before_they_are_read(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advice covers every token that is read (a row's first input too, where one precedes it), begins at
    a page and stays inside the file."""
    folder = corpus(counts=(400, 300))
    loader = BatchLoader(ShardSet(folder), 32)
    asked: list[tuple[int, int]] = []

    class Listening:
        """A mapping of 10,000 numbers of 2 bytes that notes what it is asked."""

        def madvise(self, advice: int, start: int, length: int) -> None:
            assert advice == mmap.MADV_WILLNEED and start % mmap.PAGESIZE == 0
            assert 0 < length <= 20_000 - start
            asked.append((start, start + length))

    numbers: Any = SimpleNamespace(itemsize=2, _mmap=Listening())
    for start, stop in ((0, 1), (2047, 2049), (9_000, 10_000)):
        will_need(numbers, start, stop)
        assert asked[-1][0] <= 2 * start and 2 * stop == asked[-1][1]
    will_need(np.empty(3), 0, 3)  # not mapped: nothing to ask
    wanted: list[int] = []
    monkeypatch.setattr(data_shards, "will_need", lambda numbers, a, b: wanted.append(b - a))
    batch = loader.batch(0, 8)
    at_beginning = sum(loader.ranges(row)[1][0][0] == 0 for row in range(8))
    assert sum(wanted) == batch.num_targets() + 8 - at_beginning


def test_every_token_is_a_target_exactly_once_per_epoch(corpus: Corpus) -> None:
    shards = opened(corpus())
    loader = BatchLoader(shards, 32, seed=5)
    targets = torch.cat([loader.batch(i, 1).targets.flatten() for i in range(loader.num_samples)])
    targets = targets[targets != IGNORED].numpy()
    assert len(targets) == shards.num_tokens
    written = np.concatenate([shards.payload(i) for i in range(len(shards.shards))])
    assert np.array_equal(np.sort(targets), np.sort(written))


def test_inputs_positions_and_sources_follow_documents(shards: ModuleType, tmp_path: Path) -> None:
    documents = [([5, 6, 7], 1), ([8], 0), ([9, 10, 11, 12], 1)]
    shards.write_shards(tmp_path / "s", [documents[:2], documents[2:]], vocab=20)
    loader = BatchLoader(opened(tmp_path / "s"), 8, seed=0)
    by_length = sorted((loader.sample(i) for i in range(2)), key=lambda sample: -len(sample.targets))
    assert by_length[0].inputs.tolist() == [0, 5, 6, 7, 0, 8, 0, 9]
    assert by_length[0].targets.tolist() == [5, 6, 7, 0, 8, 0, 9, 10]
    assert by_length[0].positions.tolist() == [0, 1, 2, 3, 0, 1, 0, 1]
    assert by_length[0].sources.tolist() == [1, 1, 1, 1, 0, 0, 1, 1]
    assert by_length[1].inputs.tolist() == [10, 11, 12]
    assert by_length[1].positions.tolist() == [0, 1, 2]
    last = loader.batch(0, 2)
    assert (last.targets == IGNORED).sum() == 5 and (last.sources == -1).sum() == 5


def read_plainly(stream: Stream, start: int, stop: int) -> list[tuple[int, int, int, int]]:
    """Input, target, position and source of each target of a range, token by token."""
    table, rows = stream.documents_table(), []
    for at in range(start, stop):
        document = int(np.searchsorted(table.stops, at, side="right"))
        before = int(stream.read(at - 1, at)[0]) if at else stream.shards.eos_id
        position = at - max(start, int(table.starts[document]))
        rows.append((before, int(stream.read(at, at + 1)[0]), position, int(table.sources[document])))
    return rows


@given(data=st.data())
def test_many_ranges_are_gathered_as_they_are_read_one_by_one(
    data: st.DataObject, shards: ModuleType
) -> None:
    """Over shards of random documents, of all sources or of one: ranges of any length in any order."""
    document = st.tuples(st.lists(st.integers(1, 19), max_size=9), st.integers(0, 1))
    written = data.draw(st.lists(st.lists(document, max_size=5), min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        shards.write_shards(Path(folder) / "s", written, vocab=20)
        opened = ShardSet(Path(folder) / "s")
        for stream in (Stream.whole(opened), Stream.of_source(opened, 1)):
            if not stream.num_tokens:
                continue
            place = st.integers(0, stream.num_tokens - 1)
            drawn = data.draw(st.lists(st.tuples(place, st.integers(1, 30)), min_size=1, max_size=6))
            starts = np.array([start for start, _ in drawn])
            stops = np.minimum(starts + [length for _, length in drawn], stream.num_tokens)
            found = gather(stream, starts, stops)
            columns = (found.inputs, found.targets, found.positions, found.sources)
            plain = [
                row
                for start, stop in zip(starts, stops, strict=True)
                for row in read_plainly(stream, start, stop)
            ]
            assert list(zip(*(column.tolist() for column in columns), strict=True)) == plain


WAITING = """
import ctypes, fcntl, mmap, os, struct, sys, threading, time
import numpy as np
from types import SimpleNamespace
from gristmill.trainer.data.batch import gather
from gristmill.trainer.data.shards import ShardSet, Stream, TokenRange

SIZE, NUMBERS = 1 << 16, 1 << 15
files = ctypes.CDLL(None).syscall(323, os.O_CLOEXEC | 1)  # userfaultfd, faults of this process alone
if files < 0:
    sys.exit(77)
fcntl.ioctl(files, 0xC018AA3F, bytearray(struct.pack("QQQ", 0xAA, 0, 0)))  # UFFDIO_API
pages = np.frombuffer(mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), "<u2")
address = pages.ctypes.data
fcntl.ioctl(files, 0xC020AA00, bytearray(struct.pack("QQQQ", address, SIZE, 1, 0)))  # UFFDIO_REGISTER
one = np.array([NUMBERS], np.uint64)
shards = SimpleNamespace(eos_id=0, vocab=9, payload=lambda _: pages, doc_ends=lambda _: one,
                         doc_sources=lambda _: np.zeros(1, np.uint16))
stream = Stream(shards, [TokenRange(0, 0, NUMBERS)])
starts = np.arange(10, 400, 40)
reader = threading.Thread(target=gather, args=(stream, starts, starts + 20), daemon=True)
reader.start()
time.sleep(0.2)  # comes back only where the reader, who waits for a page, holds no lock
assert reader.is_alive()
fcntl.ioctl(files, 0xC020AA04, bytearray(struct.pack("QQQq", address, SIZE, 0, 0)))  # UFFDIO_ZEROPAGE
reader.join()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="Linux's page faults")
def test_a_thread_that_waits_for_a_short_ranges_page_holds_no_python_lock() -> None:
    """Ranges of 20 tokens, on pages that come only when another thread of Python brings them."""
    done = subprocess.run([sys.executable, "-c", WAITING], timeout=600, cwd=ROOT)
    if done.returncode == 77:
        pytest.skip("userfaultfd is not to be had")
    assert done.returncode == 0


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_step_has_the_same_rows_for_any_number_of_ranks(world: int, corpus: Corpus) -> None:
    loader = BatchLoader(opened(corpus()), 16, seed=1)
    whole = loader.batch(24, 8).inputs
    parts = [loader.batch(24, 8, rank, world).inputs for rank in range(world)]
    assert torch.equal(torch.stack(parts, 1).flatten(0, 1), whole)


def test_prefetched_batches_are_those_of_plain_calls_and_errors_come_through(corpus: Corpus) -> None:
    loader = BatchLoader(opened(corpus()), 16, seed=1)
    fetched = list(prefetch(lambda step: loader.batch(4 * step, 4), range(3, 6)))
    assert all(
        torch.equal(batch.inputs, loader.batch(4 * step, 4).inputs)
        for step, batch in zip(range(3, 6), fetched, strict=True)
    )

    def fail(step: int) -> TokenBatch:
        raise IntegrityError("torn")

    with pytest.raises(IntegrityError, match="torn"):
        list(prefetch(fail, range(3)))


def test_leaving_a_prefetch_early_ends_its_thread(corpus: Corpus) -> None:
    loader = BatchLoader(opened(corpus()), 16, seed=1)
    batches = prefetch(lambda step: loader.batch(step, 1), range(1000))
    next(batches)
    batches.close()  # type: ignore[attr-defined]


def test_best_fit_takes_the_tightest_room() -> None:
    assert best_fit(np.array([6, 5, 4, 3, 2]), 10).tolist() == [0, 1, 0, 1, 1]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=200))
def test_packing_never_overfills_and_wastes_less_than_half(lengths: list[int]) -> None:
    sample = best_fit(np.array(lengths), 50)
    filled = np.bincount(sample, weights=lengths)
    assert filled.max() <= 50 and filled.min() > 0
    assert len(filled) == 1 or filled.mean() > 25


def test_long_documents_are_cut_into_pieces_that_lose_nothing() -> None:
    starts, stops = fragment(np.array([0, 25, 30]), np.array([25, 30, 50]), 10)
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == [
        (0, 10),
        (10, 20),
        (20, 25),
        (25, 30),
        (30, 40),
        (40, 50),
    ]


def test_a_stream_of_no_document_has_an_empty_table(corpus: Corpus) -> None:
    table = Stream(opened(corpus()), []).documents_table()
    assert [len(column) for column in (table.starts, table.stops, table.sources, table.bytes)] == [0] * 4


def test_best_fit_samples_hold_whole_documents_and_every_token_once(corpus: Corpus) -> None:
    shards = opened(corpus())
    packed = PackedStream(Stream.whole(shards), 64, seed=0)
    table = packed.stream.documents_table()
    ranges = packed.ranges(np.arange(len(packed)))
    assert sorted(zip(*(side.tolist() for side in ranges), strict=True)) == sorted(
        zip(table.starts.tolist(), table.stops.tolist(), strict=True)
    )  # none is longer than 64
    loader = BatchLoader(shards, 64, seed=0, settings=DataSettings(packing="bestfit"))
    assert loader.num_cut == 0 and 0 <= loader.pad_fraction < 0.2
    targets = torch.cat([loader.batch(i, 1).targets.flatten() for i in range(loader.num_samples)])
    assert int((targets != IGNORED).sum()) == shards.num_tokens


def test_sources_are_blended_by_weight_and_each_sample_is_of_one_source(corpus: Corpus) -> None:
    folder = corpus(kind="sources", weights={"web": 3.0, "code": 1.0})
    loader = BatchLoader(opened(folder), 16, seed=0)
    batch = loader.batch(0, 80)
    valid = batch.sources >= 0
    majority = batch.sources.max(1).values
    assert all(
        set(row[mask].tolist()) == {int(top)}
        for row, mask, top in zip(batch.sources, valid, majority, strict=True)
    )
    assert Counter(majority.tolist()) == {0: 60, 1: 20}


def test_a_source_is_never_repeated_beyond_its_cap(corpus: Corpus) -> None:
    folder = corpus(kind="sources", weights={"web": 1.0, "code": 1.0}, epochs={"web": 1.0, "code": 2.0})
    loader = BatchLoader(opened(folder), 16, seed=0)
    windows = len(loader.parts[0])
    loader.check_caps(2 * windows - 2)
    with pytest.raises(UsageError, match="'web' would be repeated") as caught:
        loader.check_caps(2 * windows + 4)
    assert "cap" in str(caught.value) and caught.value.hint is not None


def test_a_shard_without_documents_is_passed_over(shards: ModuleType, tmp_path: Path) -> None:
    shards.write_shards(tmp_path / "s", [[([5, 6], 0)], [], [([7], 0)]])
    assert BatchLoader(opened(tmp_path / "s"), 8).sample(0).targets.tolist() == [5, 6, 0, 7, 0]


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no shard manifest"):
        opened(tmp_path)


@pytest.mark.parametrize("suffix", [".bin", ".bin.index", ".source", ".bytes"])
def test_a_truncated_file_is_named(suffix: str, corpus: Corpus) -> None:
    folder = corpus()
    path = folder / f"00001{suffix}"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(IntegrityError, match="the manifest promises") as caught:
        opened(folder)
    assert caught.value.where == str(path)


def test_an_id_beyond_the_vocabulary_is_named_with_its_place(corpus: Corpus) -> None:
    folder = corpus()
    payload = np.memmap(folder / "00001.bin", dtype="<u2", mode="r+")
    payload[7] = 9999
    payload.flush()
    loader = BatchLoader(opened(folder), 16, seed=0)
    with pytest.raises(
        IntegrityError, match="token 9999 at position 7 is beyond the vocabulary of 300"
    ) as caught:
        loader.batch(0, loader.num_samples)
    assert caught.value.where == str(folder / "00001.bin")


def test_ids_above_two_bytes_are_read_as_four(shards: ModuleType, tmp_path: Path) -> None:
    shards.write_shards(tmp_path / "s", [[([70_000, 5], 0)]], vocab=100_000)
    assert BatchLoader(opened(tmp_path / "s"), 8).sample(0).targets.tolist() == [70_000, 5, 0]


def remote(folder: Path, cache: Path, cache_bytes: int) -> RemoteShardSet:
    import fsspec

    memory: Any = fsspec.filesystem("memory")
    for path in folder.iterdir():
        memory.pipe_file(f"/{folder.name}/{path.name}", path.read_bytes())
    return RemoteShardSet(f"memory://{folder.name}", cache, cache_bytes)


def test_remote_shards_are_read_through_a_cache_that_stays_in_its_bound(
    corpus: Corpus, tmp_path: Path
) -> None:
    folder = corpus("far", (30, 30, 30, 30))
    largest = max(path.stat().st_size for path in folder.glob("*.bin"))
    bound = int(2.9 * largest)
    far = remote(folder, tmp_path / "cache", bound)
    settings = DataSettings(shuffle_shards=1)
    loaders = [BatchLoader(shards, 16, 0, settings) for shards in (opened(folder), far)]
    for number in range(loaders[0].num_samples):
        assert torch.equal(*(loader.batch(number, 1).inputs for loader in loaders))
        payloads = sum(path.stat().st_size for path in far.folder.glob("0*"))
        assert payloads <= bound


def test_a_damaged_download_and_a_cache_too_small_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    folder = corpus("far")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["sha256"] = "f" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    far = remote(folder, tmp_path / "cache", 1 << 20)
    with pytest.raises(IntegrityError, match="digest"):
        far.payload(0)
    with pytest.raises(UsageError, match="cache_bytes"):
        remote(folder, tmp_path / "cache", 100)


@pytest.mark.parametrize("suffix", [".bin.index", ".bytes", ".source", ".ids"])
def test_a_sidecar_of_another_shard_set_is_refused(corpus: Corpus, tmp_path: Path, suffix: str) -> None:
    """Of the same size, as one that was copied before its manifest: boundaries would be another set's."""
    folder = corpus("far")
    manifest = json.loads((folder / "manifest.json").read_text())
    name = f"{manifest['shards'][0]['name']}{suffix}"
    sha256 = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    manifest["shards"][0]["sidecars"] = {suffix: sha256}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    remote(folder, tmp_path / "well", 1 << 20).doc_ids(0)
    data = bytearray((folder / name).read_bytes())
    data[0] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(IntegrityError, match="digest"):
        remote(folder, tmp_path / "cache", 1 << 20).doc_ids(0)


def test_ranks_that_share_a_cache_fetch_a_shard_once_and_never_take_each_others(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = corpus("far", (30, 30, 30, 30))
    largest = max(path.stat().st_size for path in folder.glob("*.bin"))
    bound = int(2.9 * largest)
    near = opened(folder)
    first, second = (remote(folder, tmp_path / "cache", bound) for _ in range(2))
    fetched: list[str] = []
    plain = RemoteShardSet._fetch
    monkeypatch.setattr(
        RemoteShardSet, "_fetch", lambda self, name, *more: fetched.append(name) or plain(self, name, *more)
    )
    for shard in (0, 1):
        for one in (first, second):
            assert np.array_equal(one.payload(shard), near.payload(shard))
    assert fetched.count("00000.bin") == fetched.count("00001.bin") == 1
    first.payload(2), first.payload(3)  # beyond the bound: the first lets go of 0 and 1, the second has not
    assert np.array_equal(second.doc_bytes(0), near.doc_bytes(0))  # a file it had not yet mapped
    assert np.array_equal(second.payload(0), near.payload(0)) and fetched.count("00000.bin") == 1
    for shard in (2, 3, 0, 1):
        for one in (first, second):
            assert np.array_equal(one.doc_ids(shard), near.doc_ids(shard))
            assert sum(path.stat().st_size for path in one.folder.glob("0*.bin")) <= 2 * bound


def test_a_shard_another_rank_drops_while_room_is_made_counts_as_gone(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = corpus("far", (30, 30, 30, 30))
    largest = max(path.stat().st_size for path in folder.glob("*.bin"))
    one = remote(folder, tmp_path / "cache", int(1.9 * largest))
    monkeypatch.setattr(RemoteShardSet, "_is_there", lambda self, shard: shard != 3)  # seen, then dropped
    assert np.array_equal(one.payload(3), opened(folder).payload(3))


READS_AT_RANDOM = """
import hashlib, random, sys
from pathlib import Path
from gristmill.trainer.data.remote import RemoteShardSet
url, cache, room, log, seed = sys.argv[1:]
plain = RemoteShardSet._fetch
def fetch(self, name, *more):
    with open(log, "a") as file: file.write(name + "\\n")
    plain(self, name, *more)
RemoteShardSet._fetch = fetch
far, draw = RemoteShardSet(url, Path(cache), int(room)), random.Random(int(seed))
for _ in range(60):
    shard = draw.randrange(len(far.shards))
    print(shard, hashlib.sha256(far.payload(shard).tobytes()).hexdigest())
"""


@pytest.mark.parametrize("shards_in_cache", [10, 2])
def test_processes_that_share_a_cache_read_what_is_there_and_one_fetches_for_all(
    shards_in_cache: int, corpus: Corpus, tmp_path: Path
) -> None:
    folder = corpus("far", (30, 30, 30, 30))
    largest = max(path.stat().st_size for path in folder.glob("*.bin"))
    room, log = int((shards_in_cache + 0.9) * largest), tmp_path / "fetched"
    command = [sys.executable, "-c", READS_AT_RANDOM, f"file://{folder}", str(tmp_path / "cache"), str(room)]
    processes = [
        subprocess.Popen([*command, str(log), str(seed)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for seed in range(4)
    ]
    wanted = {
        str(number): hashlib.sha256(opened(folder).payload(number).tobytes()).hexdigest()
        for number in range(4)
    }
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    for told in outputs:
        rows = [line.split() for line in told.splitlines()]
        assert len(rows) == 60 and all(wanted[number] == found for number, found in rows)
    if shards_in_cache == 10:
        fetched = log.read_text().splitlines()
        assert sorted(name for name in fetched if name.endswith(".bin")) == [f"0000{n}.bin" for n in range(4)]


def test_a_cache_left_by_an_earlier_run_counts_and_another_set_at_the_url_is_not_it(
    corpus: Corpus, tmp_path: Path
) -> None:
    folder = corpus("far", (30, 30, 30, 30))
    largest = max(path.stat().st_size for path in folder.glob("*.bin"))
    before = remote(folder, tmp_path / "cache", 10 * largest)
    for shard in range(4):
        before.payload(shard)
    old = before.folder
    del before
    small = remote(folder, tmp_path / "cache", int(2.9 * largest))
    (old / "00000.bin").unlink()
    small.payload(0)
    assert sum(path.stat().st_size for path in small.folder.glob("0*")) <= int(2.9 * largest)
    idle = remote(folder, tmp_path / "cache", int(2.9 * largest))  # has opened the set, reads no shard yet
    del small
    changed = remote(corpus("far", (9, 9)), tmp_path / "cache", 10 * largest)
    assert changed.folder != old and old.is_dir()  # in use
    del idle
    remote(folder, tmp_path / "cache", 10 * largest)
    assert not old.is_dir()
    assert np.array_equal(changed.payload(1), opened(folder).payload(1))


@pytest.mark.parametrize("packing", ["concat", "bestfit"])
def test_a_source_without_tokens_is_named_if_it_has_a_weight_and_left_out_if_not(
    packing: Any, shards: Any, tmp_path: Path
) -> None:
    documents = [shards.random_documents(30, 1)]
    how = {"kind": "sources", "sources": ("web", "code", "none")}
    weighted = shards.write_shards(
        tmp_path / "a", documents, weights={"web": 1.0, "code": 1.0, "none": 0.5}, **how
    )
    with pytest.raises(InputError, match="source 'none' has no tokens"):
        BatchLoader(opened(weighted), 16, 0, DataSettings(packing=packing))
    plain = shards.write_shards(tmp_path / "b", documents, **how)
    loader = BatchLoader(opened(plain), 16, 0, DataSettings(packing=packing))
    assert len(loader.batch(0, 8)) == 8


@pytest.mark.parametrize(
    "weights", [[math.nan, 1.0], [math.inf, 1.0], [1e308, 1e308], [-1.0, 2.0], [0.0], []]
)
def test_weights_that_are_no_proportions_are_refused(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="must be finite"):
        Blend(weights)
