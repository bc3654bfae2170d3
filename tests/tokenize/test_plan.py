"""Plans: published mixtures come out as printed, and what cannot be met is refused with the largest budget
that can."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gristmill.errors import RecipeError
from gristmill.tokenize.mixing.plan import Size, make_plan, proportions
from gristmill.tokenize.settings import MixSettings

# LLaMA, table 1 (Touvron et al. 2023): share, epochs at 1.4T tokens. The paper does not give sizes: they are
# derived here as share x 1.4T / epochs, so this holds the form of the table and the arithmetic, not the
# paper's own counts.
LLAMA = {
    "commoncrawl": (0.67, 1.10), "c4": (0.15, 1.06), "github": (0.045, 0.64), "wikipedia": (0.045, 2.45),
    "books": (0.045, 2.23), "arxiv": (0.025, 1.06), "stackexchange": (0.02, 1.03),
}  # fmt: skip
# GPT-3, table 2.2 (Brown et al. 2020): tokens, weight in the mix, epochs at 300B as printed. The weights sum
# to 101 %.
GPT3 = {
    "commoncrawl": (410e9, 0.60, 0.44), "webtext2": (19e9, 0.22, 2.9), "books1": (12e9, 0.08, 1.9),
    "books2": (55e9, 0.08, 0.43), "wikipedia": (3e9, 0.03, 3.4),
}  # fmt: skip


def sizes(**tokens: float) -> dict[str, Size]:
    return {name: Size(100, int(value), 4 * int(value)) for name, value in tokens.items()}


def test_llamas_table_comes_out_as_printed() -> None:
    budget = 1_400_000_000_000
    held = sizes(**{name: share * budget / epochs for name, (share, epochs) in LLAMA.items()})
    settings = MixSettings(proportions={name: share for name, (share, _) in LLAMA.items()}, tokens=budget)
    table = {row["source"]: row for row in make_plan(settings, held).table()}
    assert {name: round(float(row["epochs"]), 2) for name, row in table.items()} == {
        n: e for n, (_, e) in LLAMA.items()
    }
    assert sum(int(row["tokens"]) for row in table.values()) == pytest.approx(budget, abs=len(table))


def test_gpt3s_epochs_follow_from_its_weights_not_from_its_rounded_table() -> None:
    settings = MixSettings(
        proportions={name: weight for name, (_, weight, _) in GPT3.items()},
        tokens=300_000_000_000,
        normalise=True,
    )
    held = sizes(**{name: tokens for name, (tokens, _, _) in GPT3.items()})
    # Normalised weights are the printed ones divided by 1.01.
    epochs = {row.source: row.epochs * 1.01 for row in make_plan(settings, held).rows}
    assert [round(value, 2) for value in epochs.values()] == [0.44, 3.47, 2.0, 0.44, 3.0]
    assert [printed for _, _, printed in GPT3.values()] == [0.44, 2.9, 1.9, 0.43, 3.4]


def test_proportions_that_do_not_sum_to_one_say_what_they_sum_to() -> None:
    with pytest.raises(
        ValidationError,
        match=r"sum to 0\.9, not 1; set `normalise: true` to use \{a: 0\.555556, b: 0\.444444\}",
    ):
        MixSettings(proportions={"a": 0.5, "b": 0.4})
    assert MixSettings(proportions={"a": 0.5, "b": 0.4}, normalise=True).normalise


@pytest.mark.parametrize("value", [0.0, -0.5, float("nan")])
def test_a_proportion_must_be_above_zero(value: float) -> None:
    with pytest.raises(ValidationError, match="must be above 0"):
        MixSettings(proportions={"a": value})


def test_a_budget_beyond_the_cap_on_epochs_names_the_largest_that_fits() -> None:
    settings = MixSettings(proportions={"web": 0.8, "wiki": 0.2}, tokens=10_000, max_epochs={"wiki": 2.0})
    with pytest.raises(RecipeError, match=r"needs 20\.00 epochs of `wiki`, at most 2 are allowed") as caught:
        make_plan(settings, sizes(web=8000, wiki=100))
    assert "the largest budget with these proportions is 1,000 tokens" in str(caught.value.hint)
    assert make_plan(settings.model_copy(update={"tokens": 1000}), sizes(web=8000, wiki=100)).tokens == 1000


def test_an_unknown_and_an_empty_source_are_refused() -> None:
    settings = MixSettings(proportions={"web": 0.5, "wiki": 0.5})
    with pytest.raises(RecipeError, match="names the source `wiki`, encoded are web"):
        make_plan(settings, sizes(web=10))
    with pytest.raises(RecipeError, match="the source `wiki` has no tokens to mix"):
        make_plan(settings, {**sizes(web=10), "wiki": Size(0, 0, 0)})


def test_without_a_budget_no_source_repeats() -> None:
    plan = make_plan(MixSettings(proportions={"web": 0.5, "wiki": 0.5}), sizes(web=900, wiki=100))
    assert [row.tokens for row in plan.rows] == [100, 100]


def test_natural_proportions_take_everything_once() -> None:
    plan = make_plan(MixSettings(method="natural"), sizes(web=900, wiki=100))
    assert [(row.proportion, row.epochs) for row in plan.rows] == [(0.9, 1.0), (0.1, 1.0)]


def test_temperature_lifts_small_sources() -> None:
    shares = proportions(MixSettings(method="temperature", temperature=2.0), sizes(web=900, wiki=100))
    assert shares == {"web": pytest.approx(0.75), "wiki": pytest.approx(0.25)}


def test_unimax_is_even_until_a_cap_on_epochs_binds() -> None:
    plan = make_plan(MixSettings(method="unimax", tokens=1000, max_epochs=2.0), sizes(a=1000, b=1000, c=50))
    assert [row.tokens for row in plan.rows] == [450, 450, 100]
    with pytest.raises(RecipeError, match="more than all sources hold") as caught:
        make_plan(MixSettings(method="unimax", tokens=10_000, max_epochs=2.0), sizes(a=1000, b=1000, c=50))
    assert "4,100 tokens" in str(caught.value.hint)


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=6), st.integers(1, 10**9), st.floats(0.5, 8.0))
def test_unimax_spends_the_budget_within_the_caps(tokens: list[int], budget: int, cap: float) -> None:
    held = sizes(**{f"s{n}": value for n, value in enumerate(tokens)})
    settings = MixSettings(method="unimax", tokens=budget, max_epochs=cap)
    if budget > sum(tokens) * cap * (1 + 1e-9):
        with pytest.raises(RecipeError):
            make_plan(settings, held)
    elif budget < sum(tokens) * cap * (1 - 1e-9):
        rows = make_plan(settings, held).rows
        assert sum(row.tokens for row in rows) == pytest.approx(budget, abs=len(rows))
        assert all(row.tokens <= cap * row.size.tokens + 1 for row in rows)


@pytest.mark.parametrize(
    ("second", "said"), [(0.500002, "sum to 1.000002, not 1"), (0.4999985, "sum to 0.9999985, not 1")]
)
def test_proportions_a_little_off_one_say_by_how_much(second: float, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        MixSettings(proportions={"a": 0.5, "b": second})
    assert MixSettings(proportions={"a": 0.5, "b": 0.5 + (second - 0.5) / 4})


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e308])
def test_proportions_of_any_size_are_divided_by_their_sum(scale: float) -> None:
    settings = MixSettings(proportions=dict.fromkeys("abc", scale), normalise=True, tokens=300)
    assert [row.tokens for row in make_plan(settings, sizes(a=900, b=100, c=400)).rows] == [100, 100, 100]
    with pytest.raises(ValidationError, match=r"a: 0\.333333"):
        MixSettings(proportions=dict.fromkeys("abc", scale))


@pytest.mark.parametrize("cap", [0, -1, float("nan"), float("inf")])
def test_a_cap_on_epochs_is_a_number_above_zero(cap: float) -> None:
    for caps, said in ((cap, "`max_epochs` must"), ({"a": 2, "b": cap}, "`max_epochs` of `b` must")):
        with pytest.raises(ValidationError, match=said):
            MixSettings(proportions={"a": 0.5, "b": 0.5}, max_epochs=caps)


@pytest.mark.parametrize(
    ("temperature", "tokens"), [(1e-300, [900, 0]), (1e-3, [900, 0]), (1, [600, 300]), (1e300, [450, 450])]
)
def test_any_temperature_above_zero_ends_in_a_plan(temperature: float, tokens: list[int]) -> None:
    settings = MixSettings(method="temperature", temperature=temperature, tokens=900)
    assert [row.tokens for row in make_plan(settings, sizes(a=2000, b=1000)).rows] == tokens


@given(st.lists(st.integers(1, 10**15), min_size=2, max_size=12))
def test_all_of_every_source_is_all_of_it_at_any_size(tokens: list[int]) -> None:
    held = sizes(**{f"s{number}": count for number, count in enumerate(tokens)})
    plan = make_plan(MixSettings(method="natural"), held)
    assert all(abs(row.tokens - row.size.tokens) <= 1 for row in plan.rows)
    assert [row.tokens for row in plan.rows if row.size.tokens < 10**9] == [
        row.size.tokens for row in plan.rows if row.size.tokens < 10**9
    ]


def test_even_shares_of_a_budget_that_they_do_not_divide_stay_within_it() -> None:
    plan = make_plan(MixSettings(method="unimax", tokens=101), sizes(a=1000, b=1000, c=1000))
    assert [row.tokens for row in plan.rows] == [33, 33, 33]
