from __future__ import annotations

import json
from pathlib import Path

import pytest

from gristmill.dedup.settings import DecontaminateSettings
from gristmill.errors import InputError, UsageError
from gristmill.pipeline.stages.decontaminate import benchmark_digests
from tests.support.dedup_drive import balanced, documents, run_decontaminate, write_shards
from tests.support.made_texts import page

QUESTION = page(1, 20)


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
    assert found.texts() == texts[1:3] and found.counts == [{"items": 1, "too_short": 1}]


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
