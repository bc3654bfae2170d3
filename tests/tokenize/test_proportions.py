"""What a mixture was asked for is what is there, or the source that is off is named with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gristmill.errors import InputError
from gristmill.files.storage import ParquetWriter
from gristmill.hashing import digest16
from gristmill.tokenize.encoding.encode import INDEX
from gristmill.tokenize.mixing import mix as mixing
from gristmill.tokenize.mixing.gates import SIZES_SHAPE, gates_of
from gristmill.tokenize.mixing.places import Take
from gristmill.tokenize.mixing.realised import add_realised, misses
from gristmill.tokenize.settings import MixSettings

EOS = 7
SCHEMA = pa.schema([*INDEX, pa.field("worth", pa.float64())])


class Source:
    """A source of documents of these lengths in two files: document n holds the token 100 + n % 900."""

    def __init__(self, folder: Path, name: str, lengths: Sequence[int], worth: Sequence[float] = ()) -> None:
        self.name, self.folder, self.total, self.docs = name, folder, sum(lengths), len(lengths)
        self.files: list[tuple[Path, Path]] = []
        weights = list(worth) or [1.0] * len(lengths)
        for number in range(2):
            own = range(number, len(lengths), 2)
            payload, index = folder / f"{name}-{number}.bin", folder / f"{name}-{number}.parquet"
            parts = [np.r_[np.full(lengths[n] - 1, 100 + n % 900), EOS] for n in own]
            np.concatenate([np.empty(0, np.int64), *parts]).astype("<u2").tofile(payload)
            ids = [digest16(name, str(n)) for n in own]
            sizes = pa.array([lengths[n] - 1 for n in own], pa.uint32())
            tokens = pa.array([lengths[n] for n in own], pa.uint32())
            with ParquetWriter(index, SCHEMA) as writer:
                table = pa.table(
                    [pa.array(ids, pa.binary(16)), pa.array(ids, pa.binary(16)), tokens, sizes,
                     pa.array([weights[n] for n in own], pa.float64())], schema=SCHEMA)  # fmt: skip
                writer.write(table)
            self.files.append((payload, index))

    def take(self, mix: MixSettings, tokens: int) -> tuple[mixing.CutOff, Counter[bytes], int]:
        """Take so many tokens as the stage does; return the bound, tokens by document, and their sum."""
        sizes = self.folder / "sizes"
        total = np.zeros(SIZES_SHAPE, np.uint64)
        for _, index in self.files:
            mixing.measure(index, mix, 1, sizes)
            total += np.fromfile(sizes, "<u8").reshape(SIZES_SHAPE)
        gates = tuple(gates_of(total, self.total / self.docs))
        runs = [self.folder / f"{self.name}-{number}.levels" for number in range(2)]
        for (_, index), run in zip(self.files, runs, strict=True):
            mixing.levels(index, mix, self.name, 1, gates, run)
        weighted = self.name in mix.weights
        bound = mixing.find_bound(runs, tokens, self.total, weighted=weighted, split=mix.split_documents)
        copies = mixing.most_copies(mix, self.name, bound)
        take = Take(
            self.name, 0, "train", 0, 1, bound.level, copies, gates, bound.cut_level, bound.cut_tokens
        )
        taken: Counter[bytes] = Counter()
        for payload, index in self.files:
            out = self.folder / "out"
            mixing.assign(payload, index, "<u2", mix, take, 1, out, EOS)
            entries = np.fromfile(out.with_suffix(".entries"), mixing.ENTRY)
            data = np.fromfile(out.with_suffix(".bin"), "<u2")
            ends = np.cumsum(entries["tokens"].astype(np.int64))
            assert (data[ends - 1] == EOS).all() and (np.count_nonzero(data == EOS) == len(entries))
            for entry in entries:
                taken[entry["id"].tobytes()] += int(entry["tokens"])
        return bound, taken, sum(taken.values())


def mix(**changes: object) -> MixSettings:
    return MixSettings(heldout_fraction=0, **changes)  # type: ignore[arg-type]


def test_one_long_document_neither_ends_a_source_nor_becomes_it(tmp_path: Path) -> None:
    source = Source(tmp_path, "a", [80] * 2000 + [300_000])
    dump = digest16("a", "2000")
    for split in (True, False):
        _, taken, total = source.take(mix(split_documents=split), 100_000)
        assert dump not in taken
        assert total == 100_000 if split else 100_000 - 80 < total <= 100_000


def test_a_budget_below_the_first_document_takes_its_beginning(tmp_path: Path) -> None:
    source = Source(tmp_path, "code", [1600] * 300)
    bound, taken, total = source.take(mix(), 300)
    assert total == 300 and len(taken) == 1 and bound.cut_tokens == 300 and not bound.missing
    bound, taken, total = source.take(mix(split_documents=False), 300)
    assert total == 0 and bound.missing == 300
    assert bound.reason == "the next document has 1,600 tokens, and `mix.split_documents` is off"


@pytest.mark.parametrize("weights", [{}, {"a": "worth"}])
def test_larger_budgets_take_everything_that_smaller_ones_took(
    tmp_path: Path, weights: dict[str, str]
) -> None:
    rng = np.random.default_rng(3)
    lengths = np.minimum(rng.pareto(1.1, 400) * 50 + 2, 40_000).astype(int).tolist()
    source = Source(tmp_path, "a", lengths, rng.uniform(0.2, 3, 400).tolist())
    before: Counter[bytes] = Counter()
    for tokens in (50, 700, 5000, 5001, 30_000, int(source.total * 0.9), int(source.total * 1.7)):
        bound, taken, total = source.take(mix(weights=weights), tokens)
        assert total == tokens - bound.missing and before <= taken
        before = taken
    assert not bound.missing


@pytest.mark.parametrize("scale", [1e-270, 1e-12, 1e9, 1e270])
def test_weights_are_compared_whatever_their_size(tmp_path: Path, scale: float) -> None:
    rng = np.random.default_rng(5)
    lengths, worth = rng.integers(2, 200, 300).tolist(), rng.choice([0.25, 1.0, 2.0, 4.0], 300)
    weighted = mix(weights={"a": "worth"})
    (tmp_path / "scaled").mkdir()
    plain = Source(tmp_path, "a", lengths, worth.tolist())
    scaled = Source(tmp_path / "scaled", "a", lengths, (worth * scale).tolist())
    for tokens in (777, plain.total, int(plain.total * 1.8)):
        bound, taken, total = scaled.take(weighted, tokens)
        _, as_plain, _ = plain.take(weighted, tokens)
        cut = Counter({id_: abs(taken[id_] - as_plain[id_]) for id_ in {*taken, *as_plain}})
        assert total == tokens and not bound.missing and len(+cut) <= 2  # a float's last bit, at the cut


def test_a_weight_far_below_the_others_comes_last_and_is_still_taken(tmp_path: Path) -> None:
    source = Source(tmp_path, "a", [50] * 200, [1e-9, 1e3] * 100)
    _, taken, total = source.take(mix(weights={"a": "worth"}), 50 * 425)
    small = [taken[digest16("a", str(n))] for n in range(0, 200, 2)]
    assert total == 50 * 425 and sum(small) == 50 * 25 and max(small) == 50


@pytest.mark.parametrize("weight", [0.0, -1.0, 1e-300, 1e300, float("inf"), float("nan")])
def test_what_is_no_weight_is_refused_with_the_document(tmp_path: Path, weight: float) -> None:
    source = Source(tmp_path, "a", [40] * 4, [1, 1, weight, 1])
    with pytest.raises(InputError, match=f"must be a number above 0.*{digest16('a', '2').hex()}"):
        source.take(mix(weights={"a": "worth"}), 100)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_random_recipes_realise_each_proportion_or_name_the_source(
    tmp_path: Path, data: st.DataObject
) -> None:
    names = ["a", "b", "c"][: data.draw(st.integers(2, 3))]
    rows, asked, reasons, proportions = [], {}, {}, {}
    shares = [data.draw(st.floats(0.002, 1)) for _ in names]
    budget = data.draw(st.integers(500, 20_000))
    split = data.draw(st.booleans())
    for name, raw in zip(names, shares, strict=True):
        tail = data.draw(st.sampled_from([0.8, 1.2, 3.0]))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        count = data.draw(st.integers(1, 300))
        lengths = np.minimum(rng.pareto(tail, count) * 30 + 2, 30_000).astype(int).tolist()
        weighted = {name: "worth"} if data.draw(st.booleans()) else {}
        source = Source(tmp_path, name, lengths, rng.uniform(0.1, 4, count).tolist())
        proportions[name] = raw / sum(shares)
        asked[name] = int(proportions[name] * budget)
        bound, _, total = source.take(mix(split_documents=split, weights=weighted), asked[name])
        assert total == asked[name] - bound.missing and bool(bound.reason) == bool(bound.missing)
        rows.append({"name": name, "tokens": total})
        reasons[name] = bound.reason
    add_realised(rows, proportions, asked, reasons)
    whole = sum(int(row["tokens"]) for row in rows)
    for row in rows:
        off = abs(int(row["tokens"]) / whole - proportions[row["name"]]) if whole else 1.0
        assert off <= 0.01 * proportions[row["name"]] or row["missed"]
    assert len(misses(rows)) == sum("missed" in row for row in rows)
