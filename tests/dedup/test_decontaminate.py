from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gristmill.dedup.grams import index_benchmarks
from gristmill.dedup.settings.against import DecontaminateSettings
from gristmill.errors import InputError, UsageError
from gristmill.pipeline.look.reading import read_view
from gristmill.pipeline.phases.dedup.decontaminate import benchmark_digests
from gristmill.pipeline.report.sections.contamination import contamination_section
from gristmill.pipeline.run.folder import finished_steps
from gristmill.pipeline.verbs.stages.dedup import register
from tests.support.dedup_drive import balanced, documents, run_decontaminate, write_shards
from tests.support.made_texts import page

QUESTION = page(1, 20)


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    register(app)
    return app


def benchmark(folder: Path, *rows: object) -> str:
    path = folder / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_thirteen_words_of_an_item_remove_a_document_and_name_the_item_and_twelve_do_not(
    tmp_path: Path,
) -> None:
    path = benchmark(
        tmp_path, {"question": " ".join(page(2, 30))}, {"question": " ".join(QUESTION), "answer": 4}
    )
    texts = [" ".join([*page(3, 9), *QUESTION[:count], *page(4, 9)]) for count in (13, 12)]
    shards = write_shards(tmp_path / "in", documents(texts), [])
    found, hits = run_decontaminate(DecontaminateSettings(benchmarks=(path,)), shards, tmp_path / "s")
    assert found.texts() == texts[1:]
    assert found.removed["rule"].to_pylist() == ["dedup.contaminated"] and found.removed[
        "value"
    ].to_pylist() == [13 / 20]
    hit = hits.to_pylist()[0]
    assert (hit["benchmark"], hit["line"], hit["num_ngrams"], hit["share"]) == ("quiz.jsonl", 2, 1, 13 / 20)
    assert hit["item"] == " ".join(QUESTION) and len(hits) == 1


def test_a_share_of_the_item_can_be_asked_for(tmp_path: Path) -> None:
    path = benchmark(tmp_path, {"q": " ".join(page(1, 40))})
    texts = [" ".join(page(1, 40)[:count]) for count in (19, 20)]
    settings = DecontaminateSettings(benchmarks=(path,), min_share=0.5)
    found, hits = run_decontaminate(
        settings, write_shards(tmp_path / "in", documents(texts), []), tmp_path / "s"
    )
    assert found.texts() == texts[:1] and hits["share"].to_pylist() == [0.5]


def test_a_short_item_is_looked_for_as_a_whole_and_a_very_short_one_not(tmp_path: Path) -> None:
    path = benchmark(tmp_path, {"q": " ".join(QUESTION[:9])}, {"q": "too short an item"})
    texts = [
        f"He said: {' '.join(QUESTION[:9]).upper()}!",
        " ".join(QUESTION[:8]),
        "too short an item",
        " ".join(QUESTION[:9]),
    ]
    found, _hits = run_decontaminate(
        DecontaminateSettings(benchmarks=(path,)),
        write_shards(tmp_path / "in", documents(texts), [2]),
        tmp_path / "s",
    )
    assert found.texts() == texts[1:3] and found.counts == [
        {"rows": 2, "items": 1, "too_short": 1, "shared_ngrams": 0}
    ]


def test_cutting_takes_a_window_around_the_ngram_and_keeps_the_long_rest(tmp_path: Path) -> None:
    path = benchmark(tmp_path, {"q": " ".join(QUESTION)})
    before, after = page(3, 120), page(4, 120)
    table = documents(
        [" ".join([*before, *QUESTION, *after]), " ".join([*before[:30], *QUESTION, *after[:30]]), "clean"]
    )
    settings = DecontaminateSettings(benchmarks=(path,), action="cut")
    found, hits = run_decontaminate(settings, write_shards(tmp_path / "in", table, []), tmp_path / "s")
    assert len(hits) == 2 and len(found.kept) == 2 and found.texts()[1] == "clean"
    left = found.texts()[0]
    assert (
        left.startswith(" ".join(before[:60]))
        and left.endswith(" ".join(after[-60:]))
        and QUESTION[5] not in left.split()[100:140]
    )
    assert found.decisions["num_cut"].to_pylist() == [1, 1, 0]
    balanced(found, table)


def test_a_document_cut_into_too_many_pieces_is_removed(tmp_path: Path) -> None:
    path = benchmark(tmp_path, {"q": " ".join(QUESTION)})
    text = " ".join(" ".join([*page(100 + n, 150), *QUESTION]) for n in range(4))
    settings = DecontaminateSettings(benchmarks=(path,), action="cut", max_pieces=3)
    found, _hits = run_decontaminate(
        settings, write_shards(tmp_path / "in", documents([text]), []), tmp_path / "s"
    )
    assert found.removed["rule"].to_pylist() == ["dedup.contaminated.pieces"] and found.removed[
        "value"
    ].to_pylist() == [4.0]


def test_a_benchmark_that_is_no_json_lines_is_named_with_its_line(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", documents(["x"]), [])
    path = benchmark(tmp_path, {"q": "x"}, "no object")
    with pytest.raises(InputError, match="must hold an object") as caught:
        run_decontaminate(DecontaminateSettings(benchmarks=(path,)), shards, tmp_path / "1")
    assert caught.value.where == f"{path}:2"
    with pytest.raises(InputError, match="must hold a text in `text`"):
        run_decontaminate(DecontaminateSettings(benchmarks=(path,), fields=("text",)), shards, tmp_path / "2")
    Path(path).write_text("{broken\n")
    with pytest.raises(InputError, match="is no JSON lines"):
        run_decontaminate(DecontaminateSettings(benchmarks=(path,)), shards, tmp_path / "3")
    with pytest.raises(InputError, match="cannot be read"):
        run_decontaminate(DecontaminateSettings(benchmarks=(str(tmp_path / "none"),)), shards, tmp_path / "4")
    with pytest.raises(UsageError, match="is no file"):
        benchmark_digests(DecontaminateSettings(benchmarks=(str(tmp_path / "none"),)))


def words(seed: int, count: int) -> str:
    return " ".join(page(seed, count))


ROWS: dict[str, tuple[dict[str, object], list[str]]] = {
    "mmlu": (
        {"question": words(1, 20), "subject": "x", "choices": [words(2, 9), words(3, 9)], "answer": 1},
        [words(2, 9)],
    ),
    "arc": (
        {
            "id": "q1",
            "question": words(1, 20),
            "choices": {"text": [words(2, 9), "b"], "label": ["A", "B"]},
            "answerKey": "A",
        },
        [words(2, 9)],
    ),
    "hellaswag": (
        {"ctx": words(1, 9), "endings": [words(2, 9), words(3, 9)], "label": "1"},
        [f"{words(1, 9)} {words(3, 9)}"],
    ),
    "gsm8k": (
        {"question": words(1, 20), "answer": f"{words(2, 9)} <<3+4=7>>{words(3, 9)}"},
        [f"{words(2, 9)} {words(3, 9)}"],
    ),
    "humaneval": (
        {
            "task_id": "1",
            "prompt": words(1, 20),
            "canonical_solution": words(2, 20),
            "entry_point": "f",
            "test": "",
        },
        [words(2, 20)],
    ),
    "lambada": ({"text": words(1, 40), "domain": "fiction"}, [words(1, 40)]),
    "boolq": ({"question": words(1, 12), "passage": words(2, 80), "answer": True}, [words(1, 12)]),
    "piqa": (
        {"goal": words(1, 5), "sol1": words(2, 10), "sol2": words(3, 10), "label": 0},
        [f"{words(1, 5)} {words(2, 10)}"],
    ),
    "winogrande": (
        {"sentence": f"{words(1, 9)} _ {words(2, 9)}", "option1": "Ann", "option2": "Bob", "answer": "1"},
        [f"{words(1, 9)} Ann {words(2, 9)}"],
    ),
    "strings": (
        {"query": "x", "metadata": {"sources": [{"passages": [words(5, 30)]}]}, "answers": [[words(6, 9)]]},
        [words(5, 30), words(6, 9)],
    ),
}


@pytest.mark.parametrize("layout", ROWS)
def test_known_layouts_are_recognised_and_strings_found_however_deep(tmp_path: Path, layout: str) -> None:
    row, leaks = ROWS[layout]
    path = benchmark(tmp_path, row)
    texts = [f"{words(30, 9)} {leak} {words(31, 9)}" for leak in leaks]
    shards = write_shards(tmp_path / "in", documents([*texts, words(7, 60)]), [])
    found, _hits = run_decontaminate(DecontaminateSettings(benchmarks=(path,)), shards, tmp_path / "s")
    assert found.texts() == [words(7, 60)]
    settings = DecontaminateSettings(benchmarks=(path,))
    _counts, told = index_benchmarks(settings, tmp_path / "grams", tmp_path / "items.parquet")
    assert told[0]["layout"] == layout


def test_a_benchmark_without_a_text_to_look_for_fails(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in", documents(["x"]), [])
    path = benchmark(tmp_path, {"choices": ["a", "b"], "id": 4}, {"choices": []})
    with pytest.raises(InputError, match="none of its 2 rows holds a text of 8 words"):
        run_decontaminate(DecontaminateSettings(benchmarks=(path,)), shards, tmp_path / "s")


HAN = "根据上述材料的内容判断下面各项说法当中与作者原来的观点不相一致的究竟是哪一个选项呢"


def test_text_without_spaces_is_matched_by_as_many_characters_as_words_are_worth(tmp_path: Path) -> None:
    path = benchmark(tmp_path, {"q": "以下哪项是正确的"}, {"q": HAN}, {"q": HAN[:18]})
    texts = [
        "网页上写着以下哪项是正确的这几个字。",
        f"前面的话{HAN[10:34]}后面的话",
        f"前面的话{HAN[8:36]}后面的话",
        f"前面的话{HAN[:18]}后面的话",
    ]
    shards = write_shards(tmp_path / "in", documents(texts), [])
    found, hits = run_decontaminate(DecontaminateSettings(benchmarks=(path,)), shards, tmp_path / "s")
    assert found.texts() == texts[:2] and sorted(hits["line"].to_pylist()) == [2, 3]
    assert found.counts[0]["items"] == 2 and found.counts[0]["too_short"] == 1


@pytest.mark.parametrize("action", ["remove", "cut"])
def test_a_row_of_zeros_on_a_page_of_zeros_costs_linear_time(tmp_path: Path, action: str) -> None:
    seconds = []
    for count in (9_000, 36_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        path = benchmark(folder, *({"q": "0 " * count} for _ in range(3)))
        shards = write_shards(folder / "in", documents(["0 " * count]), [])
        began = time.process_time()
        settings = DecontaminateSettings(benchmarks=(path,), action=action)
        found, hits = run_decontaminate(settings, shards, folder / "s")
        seconds.append(time.process_time() - began)
        assert len(found.removed) == 1 and len(hits) == 3
    assert seconds[1] < 12 * seconds[0] + 0.5, seconds


def test_a_phrase_that_many_items_share_names_the_first_of_them(tmp_path: Path) -> None:
    phrase = words(1, 15)
    rows = [{"q": f"{phrase} {words(10 + number, 9)}"} for number in range(100)]
    shards = write_shards(tmp_path / "in", documents([f"{phrase} and no more"]), [])
    settings = DecontaminateSettings(benchmarks=(benchmark(tmp_path, *rows),))
    found, hits = run_decontaminate(settings, shards, tmp_path / "s")
    assert len(found.removed) == 1 and hits["line"].to_pylist() == list(range(1, 65))
    assert found.counts[0]["shared_ngrams"] == 36 * 3


def test_planted_leaks_are_found_and_paraphrased_ones_by_how_much_stays(
    tmp_path: Path, app: typer.Typer
) -> None:
    path = benchmark(tmp_path, *({"q": words(number, 40)} for number in range(60)))
    clean = tmp_path / "clean.jsonl"
    clean.write_text("".join(json.dumps({"text": words(1000 + n, 80)}) + "\n" for n in range(40)))
    arguments = ["decontaminate-eval", path, "--documents", str(clean), "--json"]
    found = json.loads(CliRunner().invoke(app, arguments).stdout)["found"]
    assert found["clean"] == 0 and found["verbatim"] == found["other case and punctuation"] == 1
    assert found["first half"] == found["halves swapped"] == 1
    assert (
        1 == found["1 word in 20 replaced"] > found["1 word in 10 replaced"] > found["1 word in 5 replaced"]
    )
    assert "verbatim" in CliRunner().invoke(app, arguments[:-1]).stdout


def test_the_step_tells_of_each_benchmark_what_was_looked_for_and_its_longest_overlaps(
    tmp_path: Path, app: typer.Typer
) -> None:
    path = benchmark(
        tmp_path, {"question": words(1, 30), "answer": words(2, 20)}, {"question": "x", "answer": "y"}
    )
    texts = [f"{words(1, 30)} more", f"{words(1, 20)} more", words(3, 50)]
    docs = tmp_path / "docs.jsonl"
    docs.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app,
        [
            *("dedup", str(docs), "--out", str(out), "--stages", "exact", "--engine"),
            "inline",
            "--decontaminate",
            path,
        ],
    )
    assert result.exit_code == 0, result.output
    assert "quiz.jsonl: 2 items of 2 rows (layout gsm8k), 2 texts under 8 words" in result.output
    assert "found in 2 documents" in result.output
    section = contamination_section(read_view(out))
    assert section is not None
    (facts,) = finished_steps(out)["dedup-decontaminate"].extra["benchmarks"]
    assert [overlap["longest"] for overlap in facts["longest"]] == [30, 20]
    assert facts["items_found"] == 1 and all(overlap["id"] in section.body for overlap in facts["longest"])
