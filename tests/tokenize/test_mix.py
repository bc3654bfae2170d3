"""Mixtures: exact proportions, epochs as counts of copies, budgets that extend each other, order from
anywhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.errors import InputError
from gristmill.heldout import is_heldout
from gristmill.token_shards import read_documents, read_manifest
from gristmill.tokenize.encoding.encode import encode
from gristmill.tokenize.encoding.encoder import Encoder
from gristmill.tokenize.encoding.tokenizers import Tokenizer
from gristmill.tokenize.mixing.mix import levels
from gristmill.tokenize.settings import MixSettings
from tests.support.mixing_run import run_mix
from tests.support.small_corpus import write_documents

HELDOUT = 0.05


def settings(**changes: Any) -> MixSettings:
    base: dict[str, Any] = {
        "proportions": {"web": 0.6, "books": 0.4},
        "heldout_fraction": HELDOUT,
        "shard_tokens": 20_000,
    }
    return MixSettings(**{**base, **changes})


def copies(folder: Path) -> Counter[bytes]:
    return Counter(document.id for document in read_documents(folder))


def index_of(encoded: dict[str, Any], source: str) -> dict[bytes, tuple[int, list[int]]]:
    """Every document of a source that may be trained on: its tokens, straight from the encoded files."""
    found = {}
    for part in encoded[source]:
        table, payload = pq.read_table(part.index), np.fromfile(part.payload, "<u2")
        held = is_heldout(1, HELDOUT, table["unit"].combine_chunks())
        stops = np.cumsum(table["tokens"].to_numpy())
        for row, id in enumerate(table["id"].to_pylist()):
            if not held[row]:
                tokens = payload[stops[row] - table["tokens"][row].as_py() : stops[row]]
                found[id] = (len(tokens), tokens.tolist())
    return found


def test_tokens_are_exact_or_short_by_less_than_one_document_where_none_is_cut(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plan = run_mix(encoded, settings(tokens=90_000), tokenizer, tmp_path / "out")
    written = {
        source["name"]: source["tokens"] for source in read_manifest(tmp_path / "out" / "train")["sources"]
    }
    for row in plan.rows:
        assert written[row.source] == row.tokens
    run_mix(encoded, settings(tokens=90_000, split_documents=False), tokenizer, tmp_path / "whole")
    written = {
        source["name"]: source["tokens"] for source in read_manifest(tmp_path / "whole" / "train")["sources"]
    }
    for row in plan.rows:
        longest = max(size for size, _ in index_of(encoded, row.source).values())
        assert row.tokens - longest < written[row.source] <= row.tokens


def test_every_document_appears_as_often_as_its_epochs_say(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plan = run_mix(encoded, settings(tokens=250_000), tokenizer, tmp_path / "out")
    seen = copies(tmp_path / "out" / "train")
    for row in plan.rows:
        whole = int(row.epochs)
        counts = {seen[id] for id in index_of(encoded, row.source)}
        assert counts <= {whole, whole + 1} and whole >= (1 if row.source == "web" else 0)


def test_no_document_crosses_its_boundary_and_none_is_changed(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    run_mix(encoded, settings(tokens=100_000, split_documents=False), tokenizer, tmp_path / "out")
    truth = {id: tokens for source in encoded for id, (_, tokens) in index_of(encoded, source).items()}
    documents = list(read_documents(tmp_path / "out" / "train"))
    assert all(document.tokens.tolist() == truth[document.id] for document in documents)
    manifest = read_manifest(tmp_path / "out" / "train")
    assert sum(len(document.tokens) for document in documents) == sum(
        shard["tokens"] for shard in manifest["shards"]
    )
    assert len(manifest["shards"]) == 5


def test_a_larger_budget_extends_a_smaller_one(encoded: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
    taken = []
    for tokens in (30_000, 90_000, 250_000):
        run_mix(encoded, settings(tokens=tokens), tokenizer, tmp_path / str(tokens))
        taken.append(copies(tmp_path / str(tokens) / "train"))
    assert taken[0] <= taken[1] <= taken[2]


def test_held_out_documents_are_in_no_training_shard(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    run_mix(encoded, settings(tokens=100_000), tokenizer, tmp_path / "out")
    held, trained = copies(tmp_path / "out" / "heldout"), copies(tmp_path / "out" / "train")
    assert held and not held & trained and set(held.values()) == {1}
    assert read_manifest(tmp_path / "out" / "heldout")["split"] == "heldout"


def test_order_of_files_does_not_show(encoded: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
    run_mix(encoded, settings(tokens=90_000), tokenizer, tmp_path / "one")
    run_mix(
        {"web": encoded["web"][::-1], "books": encoded["books"]},
        settings(tokens=90_000),
        tokenizer,
        tmp_path / "two",
    )
    for path in sorted((tmp_path / "one" / "train").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / "train" / path.name).read_bytes(), path.name


def test_documents_are_shuffled_over_all_shards(encoded: Any, tokenizer: Tokenizer, tmp_path: Path) -> None:
    run_mix(encoded, settings(tokens=100_000), tokenizer, tmp_path / "out")
    sources = [document.source for document in read_documents(tmp_path / "out" / "train")]
    thirds = [sources[: len(sources) // 3].count("web"), sources[-(len(sources) // 3) :].count("web")]
    assert min(thirds) > 0.8 * max(thirds)


def test_weights_repeat_what_weighs_more_and_keep_the_total(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plan = run_mix(encoded, settings(tokens=160_000, weights={"web": "worth"}), tokenizer, tmp_path / "out")
    seen, trained_on = copies(tmp_path / "out" / "train"), index_of(encoded, "web")
    means: dict[float, list[int]] = {}
    for row in pq.read_table(encoded["web"][0].index).to_pylist():
        if row["id"] in trained_on:
            means.setdefault(row["worth"], []).append(seen[row["id"]])
    averages = [np.mean(means[weight]) for weight in (1.0, 2.0, 3.0)]
    assert averages[1] == pytest.approx(2 * averages[0], rel=0.25) and averages[2] == pytest.approx(
        3 * averages[0], rel=0.25
    )
    written = {
        source["name"]: source["tokens"] for source in read_manifest(tmp_path / "out" / "train")["sources"]
    }
    assert written["web"] == pytest.approx(plan.rows[0].tokens, rel=0.02)


def test_a_weight_of_nothing_names_the_first_document_that_has_it(encoded: Any, tmp_path: Path) -> None:
    table = pq.read_table(encoded["web"][0].index)
    worth = table.schema.get_field_index("worth")
    pq.write_table(
        table.set_column(worth, "worth", pa.array([0.0] + [1.0] * (len(table) - 1))), tmp_path / "i.parquet"
    )
    with pytest.raises(
        InputError, match=f"must be a number above 0, got 0 of document {table['id'][0].as_py().hex()}"
    ):
        levels(
            tmp_path / "i.parquet",
            settings(weights={"web": "worth"}, heldout_fraction=0),
            "web",
            1,
            (),
            tmp_path / "levels",
        )


def test_a_weight_that_documents_do_not_carry_names_what_they_do(
    encoded: Any, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"`mix\.weights` names `quality` for `web`, its documents carry worth"
    ):
        run_mix(encoded, settings(tokens=1000, weights={"web": "quality"}), tokenizer, tmp_path / "out")


def test_whole_numbers_beyond_a_floats_digits_are_carried_rounded(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    plain = pq.read_table(write_documents(tmp_path / "plain.parquet", "web", ["one", "two", "three"]))
    times = pa.array([1_700_000_000_000_000_001, None, -(2**63)], pa.int64())
    pq.write_table(plain.append_column("nanoseconds", times), tmp_path / "timed.parquet")
    index = tmp_path / "timed.index"
    encode(Encoder(tokenizer), tmp_path / "timed.parquet", tmp_path / "timed.bin", index)
    assert pq.read_table(index)["nanoseconds"].to_pylist() == [1.7e18, None, -(2.0**63)]
