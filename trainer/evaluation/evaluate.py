"""Score a file of texts or choices: perplexity, bits per byte, log-likelihoods.

    evaluate(Path("train/a"), Path("dev.jsonl"))

A row is one of
    {"text": "..."}    every token of the text; and, as LAMBADA asks, its last word after the words before it
    {"prompt": "...", "answer": "..."}  the answer after the prompt; LAMBADA asks whether greedy finds it
    {"prompt": "...", "choices": ["...", ...], "answer": 1}  the likeliest choice, in all and per byte

Of texts that are LAMBADA's, as OpenAI and EleutherAI distribute it, `last_word` is the result that is known
by its name; other texts have it too. An empty text, answer or choice has no likelihood to speak of and is
refused.

A field `examples`, a list of rows of the same shape with their answers, puts them before the prompt
(few-shot). Texts longer than the context are scored in windows that overlap by half, so that no token has
less than half a context before it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gristmill.trainer.checkpoints.checkpoint import find
from gristmill.trainer.data.batch import IGNORED
from gristmill.trainer.evaluation.generate import load_model
from gristmill.trainer.evaluation.rows import kind_of, prompt_of, read_rows
from gristmill.trainer.evaluation.tokenizer import ShardTokenizer, load_tokenizer
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.model.loss import TokenLosses
from gristmill.trainer.ranks.parallel import Group, process_group

TOKENS_AT_ONCE = 1 << 14  # in a batch; their logits come in chunks


@dataclass(frozen=True)
class Continuation:
    """The log-likelihood of a continuation in nats, its tokens, and whether greedy decoding would have
    written it."""

    log_likelihood: float
    num_tokens: int
    is_greedy: bool


class ScoredWindow(NamedTuple):
    """Tokens `start` to `stop` of a row, of which those from `first` on are scored."""

    row: int
    start: int
    stop: int
    first: int


@dataclass(frozen=True)
class Scorer:
    """What texts are scored with: token ids and targets (rows, T) to what each target came to, flattened, on
    this rank's share of the batches.

    With `shape`, (rows, T) of every batch: what is compiled for one shape is not compiled again.
    """

    score: Callable[[Tensor, Tensor], TokenLosses]
    context: int
    group: Group
    shape: tuple[int, int] | None = None

    @classmethod
    def of(cls, model: Model) -> Scorer:
        alone = Group(0, 1, model.embed.weight.device)
        return cls(lambda tokens, targets: model(tokens, None, targets), model.config.context, alone)


def evaluate(checkpoint: Path, file: Path, device: str = "auto", dtype: str = "auto") -> dict[str, Any]:
    """Return the metrics of every kind of row the file holds.

    Where torchrun's or Slurm's variables name several ranks, each scores its share and all return the same.
    """
    rows = list(read_rows(file))
    with process_group(device) as group:
        model, meta = load_model(checkpoint, device, dtype, group)
        tokenizer = load_tokenizer(find(checkpoint), meta.eos_id)
        scorer = dataclasses.replace(Scorer.of(model), group=group)
        found = evaluate_rows(scorer, tokenizer, meta.eos_id, rows)
    kind = str(model.dtype).removeprefix("torch.")
    return {"checkpoint": str(find(checkpoint)), "step": meta.step, "dtype": kind, **found}


def evaluate_rows(
    scorer: Scorer, tokenizer: ShardTokenizer, eos_id: int, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the metrics of every kind among some rows, the same on every rank."""

    def score(pairs: list[tuple[str, str]]) -> list[Continuation]:
        return score_pairs(scorer, tokenizer, eos_id, pairs)

    found = {kind: [row for row in rows if kind_of(row) == kind] for kind in ("text", "answer", "choices")}
    out: dict[str, Any] = {}
    if found["text"]:
        texts = [row["text"] for row in found["text"]]
        out |= _texts(texts, *_score_texts(scorer, tokenizer, eos_id, texts))
    if found["answer"]:
        pairs = [(prompt_of(row), row["answer"]) for row in found["answer"]]
        out["answer"] = _answers(score(pairs), [answer for _, answer in pairs])
    if found["choices"]:
        out["choices"] = _choices(found["choices"], score)
    return out


def _score_texts(
    scorer: Scorer, tokenizer: ShardTokenizer, eos_id: int, texts: list[str]
) -> tuple[list[Continuation], list[Continuation]]:
    """Score whole texts, and the last word of those that have words before it, in one pass."""
    joined = [_joined(tokenizer, *_before_last_word(text)) for text in texts]
    rows = [[eos_id, *ids] for ids, _ in joined]
    tokens = token_scores(scorer, rows, [1] * len(rows))
    words = [
        _summed(scores[seam:])
        for text, (_, seam), scores in zip(texts, joined, tokens, strict=True)
        if _before_last_word(text)[0]
    ]
    return [_summed(scores) for scores in tokens], words


def _before_last_word(text: str) -> tuple[str, str]:
    """Cut a text before the white space of its last word."""
    words = text.rstrip().rsplit(None, 1)
    at = len(words[0]) if len(words) == 2 else 0
    return text[:at], text[at:]


def score_pairs(
    scorer: Scorer, tokenizer: ShardTokenizer, eos_id: int, pairs: list[tuple[str, str]]
) -> list[Continuation]:
    """Score each continuation after its prompt; both are encoded as one text, cut where the prompt's tokens
    end."""
    whole = [[eos_id, *_joined(tokenizer, prompt, rest)[0]] for prompt, rest in pairs]
    firsts = [1 + _joined(tokenizer, prompt, rest)[1] for prompt, rest in pairs]
    return score_tokens(scorer, whole, firsts)


def _joined(tokenizer: ShardTokenizer, prompt: str, rest: str) -> tuple[list[int], int]:
    both, alone = tokenizer.encode(prompt + rest), tokenizer.encode(prompt)
    shared = 0  # a token may span the seam: it belongs to what is scored
    while shared < min(len(both), len(alone)) and both[shared] == alone[shared]:
        shared += 1
    return both, shared


def score_tokens(scorer: Scorer | Model, rows: list[list[int]], firsts: list[int]) -> list[Continuation]:
    """Score tokens `first` to the end of each row of ids."""
    return [_summed(scores) for scores in token_scores(scorer, rows, firsts)]


def _summed(scores: list[tuple[float, bool]]) -> Continuation:
    return Continuation(
        -math.fsum(nats for nats, _ in scores), len(scores), all(right for _, right in scores)
    )


@torch.no_grad()
def token_scores(
    scorer: Scorer | Model, rows: list[list[int]], firsts: list[int]
) -> list[list[tuple[float, bool]]]:
    """Return nats, and whether greedy decoding would have taken it, of each token from `first` on, in batches
    of rows of like length; ranks take batches in turn, as many as each other, and tell each other."""
    scorer = scorer if isinstance(scorer, Scorer) else Scorer.of(scorer)
    group = scorer.group
    windows = [
        ScoredWindow(i, *window)
        for i, row in enumerate(rows)
        for window in _windows(len(row), firsts[i], scorer.context)
    ]
    windows.sort(key=lambda window: window.stop - window.start)
    lengths = [len(row) - first for row, first in zip(rows, firsts, strict=True)]
    begins = [0, *itertools.accumulate(lengths)]
    nats, right = torch.zeros(2, begins[-1], dtype=torch.float64)
    batches = list(_batches(windows, scorer))
    for turn in range(-(-len(batches) // group.world)):
        place = turn * group.world + group.rank
        mine = place < len(batches)  # a forward pass may be collective: who has none left scores another's
        part = batches[place] if mine else batches[0][:1]
        tokens, targets = (each.to(group.device) for each in _padded(part, rows, scorer.shape))
        scored = scorer.score(tokens, targets)
        losses = scored.nats.double().view_as(targets).cpu()
        taken = scored.likeliest.double().view_as(targets).cpu()
        for line, window in enumerate(part if mine else []):
            inside = slice(window.first - window.start - 1, window.stop - window.start - 1)
            at = begins[window.row] + window.first - firsts[window.row]
            own = slice(at, at + window.stop - window.first)
            nats[own], right[own] = losses[line, inside], taken[line, inside]
    group.sum(nats), group.sum(right)
    both = list(zip(nats.tolist(), (right > 0.5).tolist(), strict=True))
    return [both[begin:end] for begin, end in itertools.pairwise(begins)]


def _padded(
    part: list[ScoredWindow], rows: list[list[int]], shape: tuple[int, int] | None
) -> tuple[Tensor, Tensor]:
    """Return the inputs of a batch's windows, padded behind, and the targets that are scored."""
    size = shape or (len(part), part[-1].stop - part[-1].start - 1)
    tokens = torch.zeros(size, dtype=torch.int64)
    targets = torch.full_like(tokens, IGNORED)
    for line, window in enumerate(part):
        ids = torch.tensor(rows[window.row][window.start : window.stop])
        tokens[line, : len(ids) - 1] = ids[:-1]
        targets[line, window.first - window.start - 1 : len(ids) - 1] = ids[window.first - window.start :]
    return tokens, targets


def _batches(windows: list[ScoredWindow], scorer: Scorer) -> Iterator[list[ScoredWindow]]:
    """Group windows, sorted by length, into batches of so many tokens, or of as many rows as `shape` has."""
    part: list[ScoredWindow] = []
    for window in windows:
        longer = (window.stop - window.start) * (len(part) + 1) > TOKENS_AT_ONCE
        if part and (len(part) == scorer.shape[0] if scorer.shape else longer):
            yield part
            part = []
        part.append(window)
    if part:
        yield part


def _windows(length: int, first: int, context: int) -> Iterator[tuple[int, int, int]]:
    """Yield (start, stop, first scored token) of windows of at most context + 1 tokens that score each token
    once."""
    scored = first
    while scored < length:
        start = max(0, min(scored - 1 - context // 2, length - context - 1))
        stop = min(length, start + context + 1)
        yield start, stop, scored
        scored = stop


def _texts(texts: list[str], scores: list[Continuation], words: list[Continuation]) -> dict[str, Any]:
    nats, tokens = -sum(s.log_likelihood for s in scores), sum(s.num_tokens for s in scores)
    size = sum(len(text.encode()) for text in texts)
    found: dict[str, Any] = {
        "text": {
            "rows": len(texts), "tokens": tokens, "bytes": size, "nats": nats,
            "perplexity": math.exp(min(700.0, nats / max(1, tokens))),
            "bits_per_byte": nats / (math.log(2) * max(1, size)),
        }
    }  # fmt: skip
    last = [rest for before, rest in map(_before_last_word, texts) if before]
    return found | ({"last_word": _answers(words, last)} if words else {})


def _answers(scores: list[Continuation], answers: list[str]) -> dict[str, Any]:
    """`accuracy` is the share that greedy decoding gets right to the token, exact match; bits per byte and
    likelihood (geometric mean over tokens) of the answer are smooth where that one jumps."""
    nats, tokens = -sum(s.log_likelihood for s in scores), sum(s.num_tokens for s in scores)
    size = sum(len(answer.encode()) for answer in answers)
    return {
        "bits_per_byte": nats / (math.log(2) * max(1, size)),
        "likelihood": math.exp(-nats / max(1, tokens)),
        "rows": len(scores),
        "accuracy": sum(s.is_greedy for s in scores) / len(scores),
        "perplexity": math.exp(min(700.0, nats / max(1, tokens))),
        "log_likelihood": -nats / len(scores),
    }


def _choices(
    rows: list[dict[str, Any]], score: Callable[[list[tuple[str, str]]], list[Continuation]]
) -> dict[str, Any]:
    pairs = [(prompt_of(row), choice) for row in rows for choice in row["choices"]]
    scores = iter(score(pairs))
    right = right_per_byte = size = 0
    nats = normalised = 0.0
    for row in rows:
        totals = [next(scores).log_likelihood for _ in row["choices"]]
        per_byte = [
            total / len(choice.encode()) for total, choice in zip(totals, row["choices"], strict=True)
        ]
        right += totals.index(max(totals)) == row["answer"]
        right_per_byte += per_byte.index(max(per_byte)) == row["answer"]
        nats -= totals[row["answer"]]
        size += len(row["choices"][row["answer"]].encode())
        most = max(totals)
        normalised += math.exp(totals[row["answer"]] - most) / sum(math.exp(one - most) for one in totals)
    return {
        "rows": len(rows),
        "accuracy": right / len(rows),
        "accuracy_per_byte": right_per_byte / len(rows),
        "bits_per_byte": nats / (math.log(2) * max(1, size)),  # of the right choice
        "normalised_likelihood": normalised / len(rows),  # of the right one among all
    }
