"""Scaling laws: the published fit of real runs, truth found again, what a budget buys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gristmill.errors import GristmillError, InputError, UsageError
from gristmill.pipeline.cli import app, register
from gristmill.pipeline.proof import planning
from gristmill.pipeline.proof.approaches import envelope, fit_kaplan, isoflop
from gristmill.pipeline.proof.fitted import bootstrap, encode, fit_rows, read_fit
from gristmill.pipeline.proof.laws import EPOCH, HOFFMANN, Floats, Law, fit_law, objective
from gristmill.pipeline.proof.laws_told import PAPER_EXPONENTS, llama_case, tell_held_back
from gristmill.pipeline.proof.rows import Columns, Rows, read_rows

TRUTH = Law(E=1.82, A=482.0, B=2085.0, alpha=0.348, beta=0.366)


@pytest.fixture(scope="module")
def chinchilla(shared_data: Path) -> Rows:
    """The runs that Epoch AI read off Chinchilla's figure 4, without the five that hardly trained."""
    return read_rows(shared_data / "scaling" / "chinchilla_figure4.csv").without_least_repeated(5)


def ladder(noise: float, seed: int, sizes: int = 5, tokens: int = 6) -> Rows:
    rng = np.random.default_rng(seed)
    n = np.repeat(np.geomspace(3e6, 1e8, sizes), tokens)
    d = n * np.tile(np.geomspace(5, 100, tokens), sizes)
    loss = TRUTH.loss(n, d) * np.exp(rng.normal(0, noise, len(n)))
    return Rows(n, d, 6 * n * d, {"all": loss}, tuple(map(str, range(len(n)))))


def test_the_fit_of_chinchillas_runs_is_the_published_one(chinchilla: Rows) -> None:
    assert len(chinchilla) == 240
    found = fit_law(chinchilla.n, chinchilla.d, chinchilla.losses["all"])
    law = found.law
    assert abs(law.A - 477.8) < 0.1 and abs(law.B - 2143) < 1
    assert (law.E, law.alpha, law.beta) == pytest.approx((1.8172, 0.3473, 0.3672), abs=5e-5)
    assert found.objective == pytest.approx(0.00101827, abs=5e-9)


def test_hoffmanns_printed_constants_are_no_optimum_of_these_runs(chinchilla: Rows) -> None:
    columns = chinchilla.n, chinchilla.d, chinchilla.losses["all"]
    assert objective(HOFFMANN, *columns) > 4 * fit_law(*columns).objective
    assert objective(EPOCH, *columns) < 1.01 * fit_law(*columns).objective


def test_envelope_and_parabolas_agree_with_the_paper(chinchilla: Rows) -> None:
    columns = chinchilla.n, chinchilla.d, chinchilla.losses["all"]
    one = envelope(*columns)
    budgets, two = isoflop(*columns)
    assert one is not None and two is not None and len(budgets) >= 9
    for number, found in ((1, one[0].exponent), (2, two.exponent)):
        _, low, high = PAPER_EXPONENTS[number]
        assert low <= found <= high


def test_a_law_without_noise_is_found_to_its_digits() -> None:
    rows = ladder(0.0, 0)
    found = fit_law(rows.n, rows.d, rows.losses["all"]).law
    for name in ("E", "A", "B", "alpha", "beta"):
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), rel=1e-3)


def test_kaplans_form_is_found_from_its_own_losses() -> None:
    rows = ladder(0.0, 0)
    loss = ((8.8e13 / rows.n) ** (0.076 / 0.095) + 5.4e13 / rows.d) ** 0.095
    found = fit_kaplan(rows.n, rows.d, loss)
    assert (found.alpha_n, found.alpha_d) == pytest.approx((0.076, 0.095), rel=1e-3)


def test_the_optimum_of_a_law_is_the_least_loss_of_its_budget() -> None:
    n, d = TRUTH.optimum(1e20)
    assert 6 * n * d == pytest.approx(1e20)
    for factor in (0.9, 1.1):
        assert TRUTH.loss(n * factor, d / factor) > TRUTH.loss(n, d)


def test_repeated_tokens_are_worth_less_and_never_more_than_sixteen_times_their_number() -> None:
    assert planning.effective(1e9, 0.5e9, planning.TOKEN_DECAY) == 0.5e9
    worth = [planning.effective(1e9, epochs * 1e9, planning.TOKEN_DECAY) for epochs in (1, 4, 40, 1e6)]
    assert worth[0] == 1e9 and 3.6e9 < worth[1] < 4e9  # up to four epochs nearly as good as new
    assert worth == sorted(worth) and worth[-1] < 17e9
    free, bound = planning.compute_optimal(EPOCH, 1e22), planning.with_unique_tokens(EPOCH, 1e22, 2e10)
    assert bound.loss > free.loss and bound.epochs > 1
    plenty = planning.with_unique_tokens(EPOCH, 1e22, 1e15)
    assert (plenty.n, plenty.loss) == (pytest.approx(free.n, rel=1e-3), pytest.approx(free.loss))


def test_a_served_model_is_smaller_and_the_served_volume_is_found_back() -> None:
    best = planning.compute_optimal(EPOCH, 1e22)
    whole = planning.inference_optimal(EPOCH, best.loss, 2e12)
    assert whole.n < best.n and whole.d > best.d
    assert float(EPOCH.loss(whole.n, whole.d)) == pytest.approx(best.loss, rel=1e-9)
    assert planning.served_for(EPOCH, whole.n, whole.d) == pytest.approx(2e12, rel=1e-3)
    assert planning.served_for(EPOCH, best.n, best.d) == pytest.approx(0, abs=1e9)
    assert "1,875 tokens per parameter" in llama_case(EPOCH)
    with pytest.raises(UsageError, match="irreducible"):
        planning.inference_optimal(EPOCH, 1.0, 1e12)


def test_a_prediction_holds_the_truth_and_says_when_it_leaves_the_ladder(tmp_path: Path) -> None:
    fits = fit_rows(ladder(0.003, 3), draws=100)
    (tmp_path / "fit.json").write_bytes(encode(fits))
    fit = read_fit(tmp_path / "fit.json").fits["all"]
    inside, outside = fit.predict("all", 3e7, 1e9), fit.predict("all", 3e9, 6e10)
    assert inside.low <= TRUTH.loss(3e7, 1e9) <= inside.high and not inside.beyond
    assert [said.split()[0] for said in outside.beyond] == ["N", "D", "C"]
    assert outside.high - outside.low > inside.high - inside.low


@pytest.mark.slow
def test_intervals_cover_a_known_truth_in_nineteen_of_twenty_ladders() -> None:
    inside = dict.fromkeys(("E", "alpha", "beta", "a"), 0)
    for draw in range(200):
        rows = ladder(0.004, draw)
        fit = fit_law(rows.n, rows.d, rows.losses["all"])
        laws = [Law.of_vector(row) for row in bootstrap(rows, rows.losses["all"], fit.law, 200)]
        for name in inside:
            low, high = np.quantile([_of(law, name) for law in laws], [0.025, 0.975])
            inside[name] += low <= _of(TRUTH, name) <= high
    for name, count in inside.items():
        assert 0.92 <= count / 200 <= 0.98, (name, inside)


def _of(law: Law, name: str) -> float:
    return float(law.exponents[0] if name == "a" else getattr(law, name))


def test_rows_are_read_by_their_usual_names_and_by_those_given(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss_web,loss_wiki,run\n1e6,2e7,4.0,4.5,a\n2e6,4e7,3.5,4.1,b\n")
    rows = read_rows(path)
    assert list(rows.losses) == ["web", "wiki"] and rows.c[0] == 6 * 1e6 * 2e7 and rows.runs == ("a", "b")
    assert list(read_rows(path, Columns(losses=("loss_wiki",))).losses) == ["wiki"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no rows"),
        ("N,loss\n1,2\n", "two of N, D and C"),
        ("N,D\n1,2\n", "no column is named loss"),
        ("N,D,loss\n1,2,high\n", "'high' is no number"),
    ],
)
def test_what_is_no_ladder_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(GristmillError, match=said):
        read_rows(path)


def test_too_few_rows_and_impossible_losses_are_refused() -> None:
    rows = ladder(0.0, 0, sizes=2)
    with pytest.raises(InputError, match="3 sizes"):
        fit_law(rows.n, rows.d, rows.losses["all"])
    whole = ladder(0.0, 0)
    losses: Floats = np.where(np.arange(len(whole)) == 4, -1.0, whole.losses["all"])
    with pytest.raises(InputError, match="row 5 has loss -1"):
        fit_law(whole.n, whole.d, losses)


RUNAWAY = Rows(  # a ladder on too few tokens: four sizes, and a fifth to predict
    np.repeat([307488.0, 664192.0, 1721664.0, 3737856.0, 6854080.0], 3),
    d := np.array([11264, 22528, 46080, 12800, 25600, 51200, 10752, 21504, 44800, 11520, 23040, 46080,
                   11264, 22528, 42240.0]),
    6 * np.repeat([307488.0, 664192.0, 1721664.0, 3737856.0, 6854080.0], 3) * d,
    {"all": np.array([3.486527, 3.327947, 3.138266, 3.396669, 3.25226, 3.093843, 3.499733, 3.307298, 3.095124,
                      3.484943, 3.332397, 3.144523, 3.52053, 3.41653, 3.22779])},
    tuple(np.repeat(["a", "b", "c", "d", "e"], 3)),
)  # fmt: skip


def test_a_fit_that_runs_away_is_refused_and_not_an_overflow() -> None:
    rows = RUNAWAY.only(slice(12))
    with pytest.raises(InputError, match=r"the fit of 12 rows has no end: .* above e\^700"):
        fit_law(rows.n, rows.d, rows.losses["all"])


def test_a_source_without_a_fit_is_named_and_the_others_are_fitted_and_predicted(tmp_path: Path) -> None:
    if not app.registered_commands:
        register()
    law = Law(E=1.0, A=100.0, B=300.0, alpha=0.4, beta=0.45)
    rows = RUNAWAY.n, RUNAWAY.d, law.loss(RUNAWAY.n, RUNAWAY.d), RUNAWAY.losses["all"]
    lines = [",".join(map(str, line)) for line in zip(*rows, strict=True)]
    four, five, fit = (tmp_path / name for name in ("four.csv", "five.csv", "fit.json"))
    head = "N,D,loss_books,loss_wiki"
    four.write_text("\n".join([head, *lines[:12]]) + "\n")
    five.write_text("\n".join([head, *lines]) + "\n")
    done = CliRunner().invoke(app, ["scaling", "fit", str(four), "--out", str(fit), "--draws", "50"])
    assert done.exit_code == 0 and "wiki: no law: the fit of 12 rows has no end" in done.output
    done = CliRunner().invoke(
        app, ["scaling", "predict", str(fit), "--n", "1M", "--d", "20k", "--level", ".8"]
    )
    assert "10 % 90 %" in " ".join(done.output.split())
    assert "books" in done.output and "wiki: no law" in done.output
    told = list(tell_held_back(five))
    assert [line.split(":")[0] for line in told] == ["books"] * 3 + ["wiki"] and "off by -0.00%" in told[0]


def test_the_verbs_fit_predict_and_plan(tmp_path: Path) -> None:
    if not app.registered_commands:
        register()
    runs, fit = tmp_path / "runs.csv", tmp_path / "fit.json"
    rows = ladder(0.002, 1)
    lines = [f"{n},{d},{loss}" for n, d, loss in zip(rows.n, rows.d, rows.losses["all"], strict=True)]
    runs.write_text("\n".join(["N,D,loss", *lines]) + "\n")
    done = CliRunner().invoke(app, ["scaling", "fit", str(runs), "--out", str(fit), "--draws", "50"])
    assert done.exit_code == 0 and "N_opt ~ C^a, by approach" in done.output
    done = CliRunner().invoke(app, ["scaling", "predict", str(fit), "--n", "1G", "--json"])
    assert json.loads(done.stdout)[0]["beyond"]
    done = CliRunner().invoke(
        app, ["scaling", "plan", "--law", str(fit), "--flops", "1e20", "--unique", "1e9", "--served", "1e12"]
    )
    assert done.exit_code == 0 and "1.00 G unique" in done.output and "400 M  1.92e+19" in done.output
    words = " ".join(done.output.split())
    assert "new tokens: extrapolated: C 1e+20 lies above the fitted" in words and "it is a guess" in words
    done = CliRunner().invoke(app, ["scaling", "plan", "--law", str(fit), "--flops", "3e17"])
    assert "extrapolated" not in done.output
    done = CliRunner().invoke(app, ["scaling", "plan", "--flops", "1e20"])
    assert "extrapolated" not in done.output and "guess" not in done.output


WRONG = [["--flops", "-1"], ["--flops", "much"], ["--served", "1e12"], ["--law", "nowhere"]]


@pytest.mark.parametrize("said", WRONG)
def test_a_budget_that_is_none_is_refused(said: list[str]) -> None:
    if not app.registered_commands:
        register()
    done = CliRunner().invoke(app, ["scaling", "plan", *said])
    assert isinstance(done.exception, UsageError)
