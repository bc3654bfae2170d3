"""Generation and scoring equal a plain loop over full forward passes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gristmill.errors import InputError, UsageError
from gristmill.trainer.evaluation.evaluate import _windows, evaluate, score_tokens
from gristmill.trainer.evaluation.generate import COLDEST, Sampling, choose, complete, generate
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.initialise import init_weights
from gristmill.trainer.model.shape import ModelConfig

Corpus = Callable[..., Path]

EOS = 0
PROMPTS = [[0, 5, 9], [0, 7], [0, 1, 2, 3, 4, 5, 6]]


def model(kind: str = "llama", seed: int = 0) -> Model:
    shape = {"vocab": 40, "num_layers": 2, "width": 32, "num_heads": 4, "ffn": 48, "context": 32}
    made = Model(ModelConfig(kind, **shape) if kind == "gpt2" else ModelConfig(num_kv_heads=2, **shape))  # type: ignore[arg-type]
    init_weights(made, seed)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)  # a fresh model is all but uniform, which would hide mistakes
    return made.eval()


@torch.no_grad()
def greedy_by_hand(m: Model, prompt: list[int], count: int) -> list[int]:
    ids = list(prompt)
    for _ in range(count):
        token = int(m(torch.tensor([ids]))[0, -1].argmax())
        if token == EOS:
            break
        ids.append(token)
    return ids[len(prompt) :]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_batch_with_a_cache_equals_greedy_decoding_one_by_one_without(kind: str) -> None:
    m = model(kind)
    assert generate(m, PROMPTS, EOS, Sampling(max_tokens=12)) == [
        greedy_by_hand(m, prompt, 12) for prompt in PROMPTS
    ]


def test_generation_ends_at_the_context() -> None:
    m = model()
    out = generate(m, [[0, 5, 9]], 39, Sampling(max_tokens=500))[0]
    assert len(out) <= 29
    with pytest.raises(UsageError, match="does not fit"):
        generate(m, [[1] * 32], EOS, Sampling())


def test_contrastive_search_ends_at_the_context_as_sampling_does() -> None:
    m, how = model(), Sampling(max_tokens=500, top_k=2, contrastive=0.3)
    m.embed.weight.data[39] = 0  # the end token is never likeliest
    for length in (3, 30, 31):
        prompt = [1 + n % 30 for n in range(length)]
        assert len(generate(m, [prompt], 39, how)[0]) == len(
            generate(m, [prompt], 39, Sampling(max_tokens=500))[0]
        )


@pytest.mark.parametrize("seed", [0, -1, 2**63, 2**64 + 5])
def test_any_whole_number_is_a_seed_of_its_own(seed: int) -> None:
    m, how = model(), {"max_tokens": 10, "temperature": 1.0}
    drawn = [generate(m, PROMPTS, EOS, Sampling(seed=s, **how)) for s in (seed, seed, seed + 1)]  # type: ignore[arg-type]
    assert drawn[0] == drawn[1] != drawn[2]


def reference(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The probabilities that transformers' own processors leave."""
    from transformers.generation import logits_process as hf

    warpers = [
        *([hf.TemperatureLogitsWarper(sampling.temperature)] if sampling.temperature != 1 else []),
        *([hf.TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []),
        *([hf.MinPLogitsWarper(sampling.min_p)] if sampling.min_p else []),
        *([hf.TypicalLogitsWarper(sampling.typical_p)] if sampling.typical_p < 1 else []),
        *([hf.TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []),
    ]
    scores = logits[None].float()
    for warper in warpers:
        scores = warper(torch.zeros(1, 1, dtype=torch.int64), scores)
    return scores[0].softmax(-1)


@pytest.mark.parametrize(
    "how",
    [
        *({"top_p": share} for share in (1e-9, 0.1, 0.5, 0.9, 1 - 1e-6, 1.0)),
        *({"top_k": count} for count in (1, 2, 39, 40, 99)),
        *({"min_p": share} for share in (1e-6, 0.1, 0.999)),
        *({"typical_p": share} for share in (1e-6, 0.2, 0.95, 1.0)),
    ],
)
def test_what_is_drawn_from_is_what_transformers_leaves(
    how: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gristmill.trainer.evaluation import generate as module

    given: list[torch.Tensor] = []
    monkeypatch.setattr(module.torch, "multinomial", lambda p, *_, **__: given.append(p) or p.argmax())
    generator = torch.Generator().manual_seed(7)
    for temperature in (COLDEST, 0.3, 1.0, 50.0):
        for spread in (0.2, 1.0, 9.0):
            logits = torch.randn(40, generator=generator) * spread
            sampling = Sampling(temperature=temperature, **how)
            choose(logits, sampling, generator)
            found = given.pop()
            torch.testing.assert_close(found / found.sum(), reference(logits, sampling), atol=1e-5, rtol=1e-4)


def test_a_sampled_row_does_not_depend_on_its_neighbours() -> None:
    m, sampling = model(), Sampling(max_tokens=10, temperature=1.0, top_k=20, top_p=0.95, seed=3)
    assert generate(m, PROMPTS, EOS, sampling) == [
        generate(m, [prompt], EOS, sampling)[0] for prompt in PROMPTS
    ]


def test_samples_of_one_call_are_independent_and_do_not_depend_on_the_batch() -> None:
    m = model()
    prompts = [[0, 5, 9]] * 12 + [[0, 7]] * 4
    how = {"max_tokens": 10, "temperature": 1.0}
    together = generate(m, prompts, EOS, Sampling(**how))  # type: ignore[arg-type]
    assert len({tuple(text) for text in together[:12]}) > 8
    assert generate(m, prompts, EOS, Sampling(batch=5, **how)) == together  # type: ignore[arg-type]
    assert generate(m, prompts, EOS, Sampling(seed=1, **how)) != together  # type: ignore[arg-type]


def test_different_prompts_share_their_draws_no_more_often_than_by_chance() -> None:
    m = model()
    with torch.no_grad():
        for parameter in m.parameters():
            parameter.mul_(0)  # every token is as likely as any other
    how = {"max_tokens": 1, "temperature": 1.0}
    pairs = [generate(m, [[0, 5], [0, 6]], 39, Sampling(seed=seed, **how)) for seed in range(300)]  # type: ignore[arg-type]
    assert sum(first == second for first, second in pairs) < 30


def test_only_ids_that_have_a_text_are_drawn() -> None:
    m = model()
    for sampling in (Sampling(max_tokens=20), Sampling(max_tokens=20, temperature=2.0, seed=4),
                     Sampling(max_tokens=9, num_beams=3)):  # fmt: skip
        assert max(max(ids, default=0) for ids in generate(m, PROMPTS, EOS, sampling, vocab=8)) < 8


def draws(sampling: Sampling) -> set[int]:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = torch.Generator().manual_seed(0)
    return {choose(logits, sampling, generator) for _ in range(300)}


def test_top_k_top_p_and_temperature_choose_from_the_right_tokens() -> None:
    assert draws(Sampling(temperature=1.0)) == {0, 1, 2, 3}
    assert draws(Sampling(temperature=1.0, top_k=2)) == {0, 1}
    assert draws(Sampling(temperature=1.0, top_p=0.8)) == {0, 1}  # 0.5 + 0.3 reaches it
    assert draws(Sampling(temperature=1.0, top_p=0.81)) == {0, 1, 2}
    assert draws(Sampling(temperature=0.05)) == {0}
    assert draws(Sampling()) == {0}


@torch.no_grad()
def log_likelihood(m: Model, prompt: list[int], rest: list[int]) -> float:
    ids = torch.tensor([prompt + rest])
    logp = m(ids)[0].double().log_softmax(-1)
    return sum(float(logp[i - 1, ids[0, i]]) for i in range(len(prompt), len(prompt) + len(rest)))


def test_a_wide_beam_finds_the_likeliest_continuation() -> None:
    m = model()
    prompt, length = [0, 5], 2
    beam = generate(m, [prompt], 39, Sampling(max_tokens=length, num_beams=40, length_penalty=0.0))[0]
    with torch.no_grad():
        pairs = torch.cartesian_prod(torch.arange(39), torch.arange(39))
        logp = m(torch.cat([torch.tensor([prompt] * len(pairs)), pairs], 1)).double().log_softmax(-1)
    both = logp[:, 1].gather(1, pairs[:, :1])[:, 0] + logp[:, 2].gather(1, pairs[:, 1:])[:, 0]
    scored = dict(zip(map(tuple, pairs.tolist()), both.tolist(), strict=True))
    scored |= {(a,): log_likelihood(m, prompt, [a, 39]) for a in range(39)} | {
        (): log_likelihood(m, prompt, [39])
    }
    assert tuple(beam) == max(scored, key=lambda key: scored[key])


def test_beams_score_at_least_as_high_as_greedy() -> None:
    m = model()
    for prompt in PROMPTS:
        beam = generate(m, [prompt], 39, Sampling(max_tokens=8, num_beams=4))[0]
        greedy = generate(m, [prompt], 39, Sampling(max_tokens=8))[0]
        if len(beam) == len(greedy) == 8:
            assert log_likelihood(m, prompt, beam) >= log_likelihood(m, prompt, greedy) - 1e-4


@pytest.mark.parametrize(
    "values",
    [
        {"top_p": 0.0},
        {"temperature": -1.0},
        {"temperature": 1e-40},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"max_tokens": 0},
        {"num_beams": 2, "temperature": 1.0},
    ],
)
def test_impossible_sampling_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Sampling(**values)


def test_scores_of_a_batch_equal_plain_log_likelihoods() -> None:
    m = model()
    rows = [[0, 5, 9, 3, 8], [0, 4], [0, 1, 2, 3, 4, 5, 6, 7]]
    scores = score_tokens(m, rows, [3, 1, 1])
    for row, first, score in zip(rows, [3, 1, 1], scores, strict=True):
        assert score.log_likelihood == pytest.approx(log_likelihood(m, row[:first], row[first:]), abs=1e-4)
        assert score.num_tokens == len(row) - first
        assert score.is_greedy == (greedy_by_hand(m, row[:first], len(row) - first) == row[first:])


@pytest.mark.parametrize(
    ("length", "first"), [(10, 1), (33, 1), (34, 1), (200, 1), (200, 190), (200, 120), (40, 35)]
)
def test_windows_score_each_token_once_with_half_a_context_before_it(length: int, first: int) -> None:
    scored = []
    for start, stop, begin in _windows(length, first, 32):
        assert 0 <= start < begin < stop <= length and stop - start <= 33
        assert begin - start >= min(begin, 16)
        scored += range(begin, stop)
    assert scored == list(range(first, length))


@pytest.fixture
def trained(corpus: Corpus, tmp_path: Path) -> Path:
    """Return a run folder with a sentencepiece tokenizer beside its shards."""
    import sentencepiece as spm

    from gristmill.trainer.train import run

    mix = corpus(vocab=400)
    (tmp_path / "text.txt").write_text(Path(json.__file__).read_text())
    spm.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"), model_prefix=str(mix / "tokenizer"), vocab_size=400,
        model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        num_threads=1, minloglevel=2,
        eos_id=0, bos_id=-1, unk_id=1,
    )  # fmt: skip
    (mix / "tokenizer.model").rename(mix / "mine.model")  # the manifest says what it is called
    manifest = json.loads((mix / "manifest.json").read_text())
    (mix / "manifest.json").write_text(json.dumps(manifest | {"tokenizer": "mine.model"}))
    shape = {"num_layers": 1, "width": 32, "num_heads": 2, "ffn": 64, "context": 64}
    run(
        {
            "shards": str(mix),
            "run": str(tmp_path / "run"),
            "model": shape,
            "device": "cpu",
            "steps": 3,
            "batch": 2,
            "threads": 1,
        }
    )
    return tmp_path / "run"


def test_text_goes_in_and_comes_out(trained: Path) -> None:
    (out,) = complete(trained, ["def decode(self"], Sampling(max_tokens=5), "cpu")
    assert isinstance(out, str)


def test_a_file_of_texts_answers_and_choices_is_scored(trained: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "import json\n" * 30},
        {"prompt": "return ", "answer": "None"},
        {
            "prompt": "a",
            "choices": ["b", "c"],
            "answer": 1,
            "examples": [{"prompt": "x", "choices": ["y", "z"], "answer": 0}],
        },
    ]
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = evaluate(trained, tmp_path / "dev.jsonl", "cpu")
    assert found["text"]["bytes"] == 360
    expected = found["text"]["nats"] / math.log(2) / 360
    assert found["text"]["bits_per_byte"] == pytest.approx(expected)
    assert found["answer"]["rows"] == found["choices"]["rows"] == 1


def test_a_row_as_lambada_is_distributed_is_scored_by_its_last_word(trained: Path, tmp_path: Path) -> None:
    texts = ["import json and return the decoded value", "def decode(self, text):\n return None"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    pairs = [text.rsplit(" ", 1) for text in texts]
    answers = [json.dumps({"prompt": prompt, "answer": " " + word}) + "\n" for prompt, word in pairs]
    (tmp_path / "answers.jsonl").write_text("".join(answers))
    by_text, by_answer = (
        evaluate(trained, tmp_path / f"{name}.jsonl", "cpu") for name in ("texts", "answers")
    )
    assert by_text["last_word"] == pytest.approx(by_answer["answer"], rel=1e-5)
    assert by_text["text"]["rows"] == 2


def test_a_prompt_that_is_no_text_is_refused(trained: Path) -> None:
    with pytest.raises(UsageError, match="lone surrogate"):
        complete(trained, ["a\ud800"], Sampling(), "cpu")


@pytest.mark.parametrize(
    "row",
    [
        "{",
        "[1]",
        '{"prompt": "x"}',
        '{"prompt": "x", "choices": ["a"], "answer": 3}',
        '{"prompt": "x", "choices": ["a"], "answer": -1}',
        '{"text": 3}',
        '{"text": ""}',
        '{"prompt": "The list is", "answer": ""}',
        '{"prompt": "x", "answer": null}',
        '{"prompt": "x", "choices": [" a", ""], "answer": 0}',
        '{"prompt": "x", "choices": [1, 2], "answer": 0}',
        '{"prompt": "x", "choices": "ab", "answer": 0}',
        '{"prompt": "x", "choices": ["a", "b"], "answer": true}',
        '{"prompt": "x", "choices": ["a", "b"], "answer": "1"}',
        '{"prompt": "x", "answer": "y", "examples": [{"prompt": "a", "answer": ""}]}',
        '{"text": "a\\ud800b"}',
        '{"prompt": "\\udfff", "choices": ["a", "b"], "answer": 0}',
        '{"text": "a byte that is no UTF-8: \udcff"}',
    ],
)
def test_a_row_that_cannot_be_scored_is_named_by_line(row: str, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n' + row + "\n", "utf-8", "surrogateescape")
    with pytest.raises(InputError) as caught:
        evaluate(trained, tmp_path / "bad.jsonl", "cpu")
    assert caught.value.where == f"{tmp_path / 'bad.jsonl'}:2"


def test_a_checkpoint_without_tokenizer_says_what_is_missing(trained: Path) -> None:
    (trained / "tokenizer.model").unlink()
    with pytest.raises(InputError, match="no tokenizer"):
        complete(trained, ["x"], Sampling(), "cpu")
