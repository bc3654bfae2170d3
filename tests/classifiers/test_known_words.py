"""Texts without known words have no score: junk is not among the best, and control tokens cut nothing off."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.classifiers.quality import classifier as quality
from gristmill.classifiers.quality.known import KnownWords
from gristmill.classifiers.quality.lines import prepare
from gristmill.classifiers.settings import ClassifierSettings
from gristmill.pipeline.cli import main
from gristmill.pipeline.run.folder import finished_steps
from tests.support.classified import CODE, TEXTS, write_documents

JUNK = ["", "!!! ??? ...", "---", "0x00 0x01", "xqzv", "\u10d2\u10d0\u10db\u10d0", "- " * 400, "1 2 3 " * 90]
SHAPES = {
    "one known word": "the " * 300,
    "two known words": "the of " * 200,
    "units": "5 km 10 kg 3 m 7 in " * 50,
    "joined units": "5km 10kg 3m 12cm " * 50,
    "letters": " ".join("abcdefghijklmnopqrstuvwxyz" * 9),
    "Roman numbers": "i ii iii iv v vi vii viii ix x " * 20,
    "emoji": "\U0001f600\U0001f389 \U0001f469\u200d\U0001f467 " * 90,
    "base64": base64.b64encode(hashlib.shake_128(b"a").digest(3000)).decode(),
    "base64 in lines": base64.encodebytes(hashlib.shake_128(b"b").digest(3000)).decode(),
    "hexadecimal": hashlib.shake_128(b"c").digest(900).hex(" "),
    "scripts": "\u043c\u0438\u0440 \u3053\u3093 \u0e2a\u0e27 \u05e9\u05dc " * 40,
    "white space": "\u3000\u2003\t\v\f\u200b\u00a0\0" * 60,
    "fullwidth marks": "\uff01\uff1f\u3002\uff0c\u3001\uff1b" * 60,
    "fullwidth letters": "\uff21\uff22\uff23 \uff41 " * 60,
    "one long token": "a" * 100_000,
    "a long known token": "the" * 20_000,
    "control tokens": "</s> <s> < /s> __label__positive __label__ " * 60,
    "dates": "2024-01-02 12:33:44Z 1st 2nd " * 50,
    "circled": "\u2460\u2461\u2462 \u24d0 " * 60,
}
SETTINGS = ClassifierSettings(buckets=10_000, heldout_fraction=0.25)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    prose = write_documents(folder / "prose.parquet", "prose", TEXTS)
    code = write_documents(folder / "code.parquet", "code", CODE)
    quality.train(SETTINGS, {"prose": [prose]}, {"code": [code]}, folder / "model", 1)
    return folder / "model"


def scores(model: Path, texts: list[str], **changes: Any) -> list[float]:
    scorer = quality.Scorer(SETTINGS.model_copy(update=changes), model)
    found: list[float] = scorer.score(pa.table({"text": pa.array(texts, pa.large_string())})).tolist()
    return found


def test_junk_has_no_score(model: Path) -> None:
    assert np.isnan(scores(model, JUNK)).all()


@pytest.mark.parametrize("features", ["fasttext", "hashing_tf"])
@pytest.mark.parametrize("prepare", ["folded", "spaces", "lines"])
def test_junk_of_any_shape_has_no_score(model: Path, tmp_path: Path, prepare: Any, features: Any) -> None:
    """Among it words that the model knows, said again and again, and letters of an alphabet."""
    if features == "hashing_tf":
        pair = ({"prose": [model.parent / "prose.parquet"]}, {"code": [model.parent / "code.parquet"]})
        quality.train(SETTINGS.model_copy(update={"features": features}), *pair, tmp_path, 1)
    found = scores(tmp_path if features == "hashing_tf" else model, [*SHAPES.values()], prepare=prepare)
    scored = [name for name, score in zip(SHAPES, found, strict=True) if not np.isnan(score)]
    assert not scored


def test_one_letter_is_a_known_word_where_it_may_be_one() -> None:
    class Model:
        class f:  # as fastText names it
            @staticmethod
            def getArgs() -> Any:
                return type("Arguments", (), {"maxn": 0})

        @staticmethod
        def get_words(on_unicode_error: str) -> list[str]:
            return ["a", "\u0438", "\u7684", "\uc218", "at"]

    counts = KnownWords(Model()).count(["a \u0438 at at at at", "\u7684 \uc218 b"])
    assert [part.tolist() for part in counts] == [[4, 2], [6, 3], [1, 2]]
    assert counts.telling.tolist() == [3, 2]


def test_a_bound_of_words_has_a_kept_and_a_removed_example(model: Path) -> None:
    words = ["the", "name", "of", "this", "function", "is", "used", "by", "other", "modules"]
    enough, fewer = (" ".join(words[:count]) for count in (10, 9))
    assert [bool(np.isnan(score)) for score in scores(model, [enough, fewer])] == [False, True]
    assert np.isnan(scores(model, [enough + " zzqx" * 100])).all()
    assert not np.isnan(scores(model, [enough + " zzqx" * 100], min_known_fraction=0.0)).any()


def test_scores_lie_between_0_and_1_without_a_calibration(model: Path, tmp_path: Path) -> None:
    """fastText's float32 gives 1.00001 for what it is sure of."""
    labels = {quality.POSITIVE: 1.0}
    scorer = quality.Scorer(ClassifierSettings(label_weights=labels), model / quality.MODEL)
    found = scorer.score(pa.table({"text": pa.array([*TEXTS, *CODE], pa.large_string())}))
    found = found[~np.isnan(found)]
    assert found.min() >= 0 and found.max() <= 1
    assert np.histogram(found, bins=20, range=(0, 1))[0].sum() == len(found)


def test_a_page_that_spells_fasttexts_control_tokens_is_read_to_its_end(model: Path) -> None:
    text = TEXTS[3]
    plain, cut, labelled = scores(model, [text, f"</s> {text}", f"__label__positive {text}"])
    assert cut == pytest.approx(plain, abs=0.05) and labelled == pytest.approx(plain, abs=0.05)
    assert "</s>" not in prepare("a </s> b", "lines").split()
    assert prepare("a<b></s>c __label", "spaces") == "a<b></s>c __label"


@pytest.mark.parametrize("keep", ["remove", "keep"])
def test_junk_goes_by_a_rule_of_its_own_and_not_into_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, keep: str
) -> None:
    """Of junk and pages, the best two per cent hold no junk; the removed carry what they lack."""
    monkeypatch.chdir(tmp_path)
    texts = [*JUNK[1:], *TEXTS, *CODE]
    (tmp_path / "in.jsonl").write_text(
        "\n".join(json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts))
    )
    with pytest.raises(SystemExit) as ended:
        verb = "classify score --top 0.02 --out out --quiet --engine inline --set".split()  # noqa: SIM905
        main([*verb, f"classify.classifier.too_little={keep}", str(model), "in.jsonl"])
    assert ended.value.code == 0
    step = finished_steps(tmp_path / "out")["classify-score/input"]
    kept = pa.concat_tables([pq.read_table(path) for path in step.paths("documents")])
    gone = pa.concat_tables([pq.read_table(path) for path in step.paths("removed")])
    scored = kept.filter(pa.compute.is_valid(kept["quality_score"]))
    assert scored.num_rows == -(-len(texts) * 2 // 100)
    assert not set(scored["text"].to_pylist()) & set(JUNK)
    few = gone.filter(pa.compute.equal(gone["rule"], "classify.too_little"))
    if keep == "keep":
        assert few.num_rows == 0 and set(JUNK[1:]) <= {*kept["text"].to_pylist(), *(t.strip() for t in JUNK)}
    else:
        assert few.num_rows >= len(JUNK) - 1 and few["quality_score"].null_count == few.num_rows
        assert all(row["value"] < row["bound"] for row in few.to_pylist())
    assert step.extra["groups"]["language"] and sum(
        row["documents"] for row in step.extra["groups"]["length"].values()
    ) == len(texts)
