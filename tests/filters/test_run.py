"""Passes, books, decisions, edits in the ledger, and deciding anew."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from gristmill.document import removed_schema
from gristmill.errors import IntegrityError, UsageError
from gristmill.filters.passes import FilterOutcome, compile_filters
from gristmill.filters.recut import recut, recut_filters
from gristmill.filters.settings import FilterSettings
from tests.support.filter_documents import documents

FIVE = "One two three four five."
PAGE = f"Menu\n{FIVE}\n  And one more line of words.  \r\nThe third has a citation[1] in it.\nHome"


def text_bytes(table: pa.Table) -> int:
    return pc.sum(pc.binary_length(table.column("text"))).as_py() or 0


def balance(before: pa.Table, outcome: FilterOutcome) -> None:
    counts = outcome.counts
    assert before.num_rows == outcome.kept.num_rows + outcome.removed.num_rows == outcome.decisions.num_rows
    after = (
        text_bytes(outcome.kept)
        + text_bytes(outcome.removed)
        + counts["deleted_bytes"]
        - counts["inserted_bytes"]
    )
    assert text_bytes(before) == after
    assert sum(counts["by_rule_first"].values()) == outcome.removed.num_rows


def apply_edits_by_hand(text: str, edits: list[dict[str, object]]) -> str:
    data = text.encode()
    for edit in reversed(edits):
        data = data[: edit["start"]] + str(edit["replacement"]).encode() + data[edit["end"] :]  # type: ignore[index,misc]
    return data.decode()


def test_the_example_of_the_module_runs_end_to_end() -> None:
    filters = compile_filters(FilterSettings(presets=("gopher", "c4-code")), seed=1)
    table = documents([PAGE, None, ""])
    outcome = filters.apply(table, first_row=7)
    balance(table, outcome)
    assert outcome.decisions.column("row").to_pylist() == [7, 8, 9]
    assert outcome.removed.schema.equals(removed_schema(table.schema))
    assert outcome.signals.schema.names == filters.signals.names


def test_kept_text_is_the_source_after_the_edits_of_the_ledger() -> None:
    filters = compile_filters(FilterSettings(presets=("c4-code",)), seed=1)
    outcome = filters.apply(documents([PAGE]))
    kept = outcome.kept.column("text").to_pylist()[0]
    edits = outcome.decisions.column("edits").to_pylist()[0]
    assert kept == f"{FIVE}\nAnd one more line of words.\nThe third has a citation in it."
    assert apply_edits_by_hand(PAGE, edits) == kept
    reasons = [filters.rules[edit["rule"]].removeprefix("c4-code.") for edit in edits]
    assert reasons == ["no_end_mark", *["white_space"] * 3, "citation", "white_space", "no_end_mark"]
    assert edits[0] == {
        "start": 0,
        "end": 5,
        "rule": filters.numbers["c4-code.no_end_mark"],
        "replacement": "",
    }


def test_a_document_carries_every_rule_it_failed_in_its_pass_and_the_funnel_shows_first_and_any() -> None:
    filters = compile_filters(FilterSettings(presets=("gopher",)), seed=1)
    outcome = filters.apply(documents(["# # #"]))
    row = outcome.removed.to_pylist()[0]
    assert (row["rule"], row["value"], row["bound"]) == ("gopher.words", 0.0, 50.0)
    expected = [
        f"gopher.{name}"
        for name in ("words", "mean_word_length", "hash_fraction", "letter_words_fraction", "stop_words")
    ]
    assert row["rules"] == expected
    assert [
        filters.rules[number] for number in outcome.decisions.column("failed_rules").to_pylist()[0]
    ] == expected
    assert outcome.counts["by_rule_first"] == {"gopher.words": 1}
    assert list(outcome.counts["by_rule_any"]) == expected


def test_what_follows_an_edit_measures_the_edited_text() -> None:
    page = "\n".join(["short"] * 20 + [f"{number} is the number of this line here." for number in range(3)])
    assert (
        compile_filters(FilterSettings(presets=("fineweb",)), 1).apply(documents([page])).kept.num_rows == 0
    )
    outcome = compile_filters(FilterSettings(presets=("c4-code", "fineweb")), 1).apply(documents([page]))
    assert outcome.kept.num_rows == 1
    assert outcome.signals.column("v1.fineweb.text_lines").to_pylist() == [3]


def test_english_presets_leave_other_languages_alone_unless_told() -> None:
    table = documents(["Kurz."], language="de")
    assert compile_filters(FilterSettings(presets=("gopher", "c4-code")), 1).apply(table).kept.column(
        "text"
    ).to_pylist() == ["Kurz."]
    assert (
        compile_filters(FilterSettings(presets=("gopher",), set={"gopher.languages": None}), 1)
        .apply(table)
        .kept.num_rows
        == 0
    )
    assert (
        compile_filters(FilterSettings(presets=("gopher",)), 1)
        .apply(documents(["Kurz."], language=None))
        .kept.num_rows
        == 0
    )


def test_the_cut_into_batches_changes_nothing(monkeypatch: pytest.MonkeyPatch, real_texts: list[str]) -> None:
    filters = compile_filters(
        FilterSettings(presets=("gopher", "gopher-repetition", "c4-code", "fineweb"), pii={}), seed=1
    )
    table = documents(real_texts[:300])
    whole = filters.apply(table)
    balance(table, whole)
    monkeypatch.setattr("gristmill.filters.passes._BATCH_BYTES", 5000)
    cut = filters.apply(table)
    for name in ("kept", "removed", "decisions", "signals"):
        assert getattr(whole, name).combine_chunks().equals(getattr(cut, name).combine_chunks())
    parts = [filters.apply(table.slice(start, 100), first_row=start) for start in (0, 100, 200)]
    assert (
        pa.concat_tables([part.decisions for part in parts])
        .combine_chunks()
        .equals(whole.decisions.combine_chunks())
    )


def test_a_histogram_counts_every_document_of_a_rule() -> None:
    filters = compile_filters(FilterSettings(presets=("gopher",)), seed=1)
    outcome = filters.apply(documents(["a", "b c", "d " * 60]))
    (part,), (verdict,) = filters.passes, outcome.verdicts
    (number,) = (number for number, rule in enumerate(part.rules) if rule.name == "gopher.words")
    bins = part.rules[number].bins_of(verdict.values[number])
    counts = np.bincount(bins, minlength=len(part.rules[number].bins) + 1).tolist()
    assert counts[:4] == [0, 0, 1, 1] and sum(counts) == 3
    assert len(counts) == len(filters.bins["gopher.words"]) + 1


def settings(**changes: object) -> FilterSettings:
    return FilterSettings.model_validate({"presets": ["gopher", "c4-code", "fineweb"], **changes})


def test_a_recut_decides_as_a_run_with_the_new_bounds_would(real_texts: list[str]) -> None:
    table = documents(real_texts[:200])
    first = compile_filters(settings(), seed=1).apply(table)
    for change in (
        {"gopher.words.min": 20, "fineweb.duplicate_line_chars_fraction": "off"},
        {"gopher.mean_word_length.max": 4.5},
    ):
        new = settings(set=change)
        again = recut(recut_filters(settings(), new, seed=1), table, first.decisions, first.signals)
        expected = compile_filters(new, seed=1).apply(table)
        for name in ("kept", "removed", "decisions"):
            assert getattr(again, name).combine_chunks().equals(getattr(expected, name).combine_chunks()), (
                name
            )
        assert again.counts == expected.counts
        assert again.kept.num_rows != first.kept.num_rows


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"set": {"c4-code.min_words_per_line": 3}}, "c4-code.min_words_per_line"),
        ({"presets": ["gopher", "c4-paper", "fineweb"]}, "c4-code"),
        ({"pii": {}}, "pii"),
        ({"set": {"gopher.languages": ["de"]}}, "gopher.languages"),
    ],
)
def test_a_recut_refuses_what_changes_text(change: dict[str, object], named: str) -> None:
    with pytest.raises(UsageError, match=f"`{named}` changes what is measured") as caught:
        recut_filters(settings(), settings(**change), seed=1)
    assert "needs a run" in str(caught.value)


def test_a_recut_of_other_documents_is_refused() -> None:
    table = documents([PAGE, FIVE])
    first = compile_filters(settings(), seed=1).apply(table)
    with pytest.raises(IntegrityError, match="not those of these"):
        recut(recut_filters(settings(), settings(), seed=1), table.slice(1), first.decisions, first.signals)


def test_survivors_are_measured_alone_and_a_recut_that_needs_more_is_refused() -> None:
    table = documents([PAGE, FIVE])
    lazy = settings(measure="survivors")
    first = compile_filters(lazy, seed=1).apply(table)
    assert first.signals.column("v1.fineweb.text_lines").to_pylist() == [None, None]
    loose = settings(
        measure="survivors",
        set={f"gopher.{rule}": "off" for rule in ("words", "stop_words", "mean_word_length")},
    )
    with pytest.raises(UsageError, match="never measured"):
        recut(recut_filters(lazy, loose, seed=1), table, first.decisions, first.signals)


def test_survivors_and_all_agree_on_decisions(real_texts: list[str]) -> None:
    table = documents(real_texts[:100])
    one, other = (
        compile_filters(settings(measure=measure), seed=1).apply(table) for measure in ("all", "survivors")
    )
    assert one.kept.combine_chunks().equals(other.kept.combine_chunks())
    assert one.removed.combine_chunks().equals(other.removed.combine_chunks())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"presets": ["gofer"]}, "did you mean `gopher`"),
        ({"presets": ["gopher", "gopher"]}, "listed twice"),
        (
            {"presets": ["gopher"], "set": {"gopher.mean_word_lenght.max": 12}},
            "did you mean `mean_word_length`",
        ),
        ({"presets": ["gopher"], "set": {"fineweb.text_lines.min": 12}}, "no preset listed here has"),
        ({"presets": ["gopher"], "set": {"gopher.words.maximum": 12}}, "a bound is one of min, max"),
        ({"presets": ["gopher"], "set": {"gopher.words.min": "many"}}, "must be a number"),
        ({"presets": ["gopher"], "set": {"gopher.words.min": 200_000}}, "contradict each other"),
        (
            {"presets": ["gopher"], "set": {"gopher.hash_fraction.max": 10}},
            "must lie between 0 and 1, got 10",
        ),
        ({"presets": ["c4-code"], "set": {"c4-code.end_mark": 1}}, "like its default True"),
        ({"order": ["gopher"]}, "which is not set"),
        ({"presets": ["gopher", "fineweb"], "order": ["gopher"]}, "it lacks fineweb"),
        ({"rules": [{"function": "rules.py"}]}, "path.py:name"),
        ({"rules": [{"function": "rules.py:f"}]}, "needs a bound"),
        ({"age": {"after": "2020-01-01", "before": "2019-01-01"}}, "no day is"),
        ({"wordlists": [{"lists": {"en": "x"}, "min": 3, "max": 1}]}, "contradict each other"),
    ],
)
def test_settings_that_cannot_work_say_why(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FilterSettings.model_validate(wrong)


def test_overrides_may_be_nested_as_a_command_line_writes_them() -> None:
    nested = FilterSettings.model_validate(
        {"presets": ["gopher"], "set": {"gopher": {"words": {"min": 5}, "stop_words": "off"}}}
    )
    assert nested.set == {"gopher.words.min": 5, "gopher.stop_words": "off"}
    assert FilterSettings.model_validate(nested.model_dump(mode="json")) == nested
