"""A stage is declared once: one that stands in this file alone is known to everything that knows stages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import BaseModel, ConfigDict

from gristmill.document import removed_rows, text_bytes
from gristmill.facts import StepFacts
from gristmill.files.storage import read_tables
from gristmill.pipeline.cli import main
from gristmill.pipeline.look.comparison import compare, levels
from gristmill.pipeline.look.document.life import look_up
from gristmill.pipeline.look.funnel import build_funnel
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.look.verify import verify
from gristmill.pipeline.recipe.making import Making
from gristmill.pipeline.report.charts.markup import PageSection, tag
from gristmill.pipeline.report.page import write_report
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.run.job import Attempt, Job, Stage, over_paths
from gristmill.pipeline.run.records.outcomes import Outcomes
from gristmill.pipeline.run.stage import KeepRemoved, Section, Slice, StageKind, declared

HERE = "tests.pipeline.test_declared_stage"


class VowelSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    first: str = "a"


class VowelSlice(Slice):
    source: str
    vowels: VowelSettings
    keep_removed: KeepRemoved


def plan(making: Making, settings: VowelSettings | None) -> None:
    for source in list(making.last) if settings else ():
        assert settings
        piece = VowelSlice(source=source, vowels=settings, keep_removed=making.recipe.keep_removed)
        making.last[source] = making.add(f"vowels/{source}", VOWELS, piece, (making.last[source],))


def work(job: Job[VowelSlice]) -> Stage:
    yield over_paths("vowels", keep_file, job.paths("documents", job.settings.source))
    return StepFacts()


def keep_file(task: Attempt[VowelSlice], path: str) -> None:
    outcomes = Outcomes(task, task.settings.source)
    for table in read_tables(Path(path)):
        stays = pc.starts_with(table["text"], task.settings.vowels.first)
        gone = table.filter(pc.invert(stays))
        rules = pa.array(["vowels.first"] * gone.num_rows, pa.string())
        kept = table.filter(stays)
        outcomes.take((table.num_rows, text_bytes(table)), kept, removed_rows(gone, rules))
    outcomes.publish()


def section(view: object) -> PageSection:
    return PageSection("vowels", "Of vowels", tag("p", "drawn by the stage"), "")


VOWELS = StageKind(
    "vowels",
    VowelSlice,
    f"{HERE}:work",
    version=1,
    label="vowels first",
    books="texts",
    report=(f"{HERE}:section",),
)
SECTION = Section("vowels", VowelSettings, plan, order=25, kinds=(VOWELS,))


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    with declared((SECTION,)):
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the stage before deduplication: two of five texts begin with an a, and are equal."""
    folder = tmp_path_factory.mktemp("declared")
    texts = ["apples and pears", "pears", "apples and pears", "berries", "cherries"]
    rows = [json.dumps({"id": f"r{number}", "text": text}) for number, text in enumerate(texts)]
    (folder / "fruit.jsonl").write_text("\n".join(rows))
    (folder / "recipe.yaml").write_text(
        f"name: fruit\nsources: {{fruit: {{inputs: {folder}/fruit.jsonl}}}}\nvowels:\ndedup: {{exact: }}\n"
    )
    assert gristmill("run", folder / "recipe.yaml", "--out", folder / "out", "--engine", "inline") == 0
    return folder / "out"


def gristmill(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return int(exit_.value.code or 0)


def test_plan_and_status_know_it(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = out.parent / "recipe.yaml"
    gristmill("plan", recipe, "--out", out)
    assert "vowels/fruit" in capsys.readouterr().out
    gristmill("status", out)
    assert "vowels/fruit" in capsys.readouterr().out
    gristmill("plan", recipe, "--out", out, "--set", "vowels.first=p", "--json")
    states = {row["step"]: row["because"] for row in json.loads(capsys.readouterr().out)}
    assert states["vowels/fruit"] == "changed: settings.vowels.first"


def test_a_mistake_in_its_section_is_shown_as_any(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gristmill("plan", out.parent / "recipe.yaml", "--set", "vowels.frist=p") == 2
    assert "did you mean `first`?" in capsys.readouterr().err


def test_the_funnels_of_terminal_and_page_are_the_sum_of_its_books(out: Path) -> None:
    names = [(level.name, level.documents, level.removed) for level in build_funnel(read_view(out)).levels]
    assert names == [("extracted", 5, 0), ("vowels first", 2, 3), ("exact dedup", 1, 1)]
    books = finished_steps(out)["vowels/fruit"].books
    assert books and books.items_in == 5 and dict(books.by_rule_first) == {"vowels.first": 3}


def test_the_page_has_its_level_its_rule_and_its_section(out: Path) -> None:
    page = write_report(out, out.parent / "page.html").read_text()
    assert "vowels first" in page and "vowels.first" in page and "drawn by the stage" in page


def test_verify_checks_what_it_took_and_handed_on(out: Path) -> None:
    assert not list(verify(out))


def test_why_tells_what_it_did(out: Path) -> None:
    life = look_up(out, "berries")
    assert life.events[-1].step == "vowels/fruit" and life.events[-1].facts["rule"] == "vowels.first"


def test_compare_shows_its_level(out: Path) -> None:
    shown = {name: documents for name, documents, _ in levels(compare(out, out))}
    assert shown["vowels first"] == [2, 2]


def test_a_stage_is_not_declared_twice() -> None:
    with pytest.raises(ValueError, match="the stage `vowels` is declared twice"), declared((SECTION,)):
        pass
