"""Weights by cluster size: a table repeats each document as often as the corpus that published it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from gristmill.errors import InputError
from gristmill.hashing import digest16
from gristmill.tokenize.encoding.encode import INDEX
from gristmill.tokenize.mixing.plan import Size, make_plan
from gristmill.tokenize.mixing.size_weights import TABLES
from gristmill.tokenize.mixing.weights import by_size
from gristmill.tokenize.settings import MixSettings
from tests.tokenize.test_proportions import Source

SIZES = [1, 2, 3, 4, 5, 6, 99, 100, 101, 999, 1000, 1001, 250_000]
# Copies by size, written out from the corpora's own descriptions.
TXT360 = [1, 3, 3, 3, 3, 5, 5, 5, 8, 8, 8, 10, 10]
FINEWEB_2 = [1, 2, 3, 3, 5, 5, 5, 8, 8, 8, 1, 1, 1]


def mix(table: Any, **changes: Any) -> MixSettings:
    weights: Any = {"a": {"column": "worth", "table": table}}
    return MixSettings(heldout_fraction=0, weights=weights, **changes)


@pytest.mark.parametrize(("table", "copies"), [("txt360", TXT360), ("fineweb-2", FINEWEB_2)])
def test_a_table_takes_each_document_as_often_as_its_corpus_did(
    tmp_path: Path, table: str, copies: list[int]
) -> None:
    source = Source(tmp_path, "a", [40] * 130, [SIZES[n % 13] for n in range(130)])
    bound, taken, total = source.take(mix(table), 40 * 10 * sum(copies))
    assert not bound.missing and total == 40 * 10 * sum(copies)
    assert [taken[digest16("a", str(n))] // 40 for n in range(130)] == copies * 10


def test_half_the_budget_keeps_a_tables_ratios(tmp_path: Path) -> None:
    source = Source(tmp_path, "a", [40] * 4000, [1, 1000] * 2000)
    _, taken, _ = source.take(mix("txt360"), 40 * 2000 * 9 // 2)
    once, often = (sum(taken[digest16("a", str(n))] for n in range(k, 4000, 2)) for k in (0, 1))
    assert often / once == pytest.approx(8, rel=0.1)


def test_linear_by_name_is_the_column_alone(tmp_path: Path) -> None:
    source = Source(tmp_path, "a", [40] * 60, [1 + n % 5 for n in range(60)])
    plain = MixSettings(heldout_fraction=0, weights={"a": "worth"})
    assert source.take(mix("linear"), 4001) == source.take(plain, 4001)


def test_a_table_of_ones_own_has_weights_between_whole_numbers(tmp_path: Path) -> None:
    settings = mix({1: 1, 2: 2.5, 10: 4})
    assert settings.copies_of("a") == 4
    assert MixSettings.model_validate_json(settings.model_dump_json()) == settings
    assert by_size(np.array([1.0, 2, 9, 10, 11]), {10: 4, 1: 1, 2: 2.5}).tolist() == [1, 2.5, 2.5, 4, 4]
    source = Source(tmp_path, "a", [40] * 2000, [2] * 2000)
    _, taken, _ = source.take(settings, 40 * 5000)
    assert set(taken.values()) == {80, 120}


def test_a_tables_highest_weight_is_the_most_copies() -> None:
    """`weight_copies` is for weights that have no table, and a source's epochs are bounded by it."""
    assert {name: mix(name).copies_of("a") for name in (*TABLES, "linear")} == {
        "txt360": 10, "fineweb-2": 8, "linear": 4
    }  # fmt: skip
    wide = mix("txt360", tokens=900, max_epochs=20, proportions={"a": 1.0})
    assert make_plan(wide, {"a": Size(10, 100, 400)}).tokens == 900


@pytest.mark.parametrize("size", [0.0, float("nan"), -1.0])
def test_a_size_below_the_tables_first_class_names_the_document(tmp_path: Path, size: float) -> None:
    source = Source(tmp_path, "a", [40] * 4, [1, 1, size, 1])
    with pytest.raises(InputError, match=f"a cluster's size of 1 or more.*{digest16('a', '2').hex()}"):
        source.take(mix("fineweb-2"), 100)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "at least one size"),
        ({0: 1}, "names a size of 0"),
        ({1: 0}, "weight of size 1 must be above 0, got 0"),
        ({1: 65}, "weight of size 1 must be at most 64, got 65"),
        ("txt-360", "'linear', 'txt360' or 'fineweb-2'"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(table: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        mix(table)


def test_the_tables_stand_in_the_page_of_the_mixture() -> None:
    page = Path("docs/mixture.md").read_text()
    for name, table in TABLES.items():
        (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        taken = row.rstrip(" |").rpartition("|")[2].removesuffix("times").split(";")
        assert [int(weight) for weight in taken] == list(table.values())


@pytest.mark.parametrize("column", INDEX.names)
def test_a_column_that_the_index_has_of_its_own_is_no_weight(column: str) -> None:
    """`tokens` of the rows would be taken for the tokens that were encoded."""
    for weight in (column, {"column": column, "table": "linear"}):
        with pytest.raises(ValidationError, match=f"`weights.a` names `{column}`"):
            MixSettings(weights={"a": weight})
