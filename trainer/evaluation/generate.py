"""Continue prompts: greedy, temperature, top-k, nucleus, beams; in batches, with a cache of keys and values.

    model, meta = load_model(Path("train/a")) continuations = generate(model, [[meta.eos_id, 17, 4]],
    meta.eos_id, Sampling(max_tokens=50, temperature=0.8))

A prompt begins with EOS, as every document did in training. A row's draws are keyed by the seed, its prompt
and how often that prompt came before: equal prompts are drawn independently, and a row's draws depend neither
on the other rows nor on how many go through the model at once. In fp32 its text does not either; bf16 rounds
products by the batch's shape, and a text may go another way from where two tokens were about as likely.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from torch import Tensor

from gristmill.errors import UsageError
from gristmill.trainer.checkpoints.checkpoint import Meta, find, load
from gristmill.trainer.evaluation.tokenizer import check_text, load_tokenizer
from gristmill.trainer.model.attention import KVCache
from gristmill.trainer.model.decoder import Model
from gristmill.trainer.ranks.devices import compute_dtype
from gristmill.trainer.ranks.parallel import Group, process_group, torch_device

Ids = list[int]

COLDEST = 1e-5  # logits are divided by the temperature: below, their differences overflow


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy, `num_beams` above 1 searches instead of
    sampling."""

    max_tokens: int = 100
    temperature: float = 0.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0  # the smallest set of tokens with this probability
    typical_p: float = 1.0  # the same of those whose surprise is nearest the entropy (Meister et al. 2023)
    min_p: float = 0.0  # tokens of at least this share of the likeliest one's probability
    contrastive: float = 0.0  # weight of the penalty of contrastive search over the top_k likeliest
    num_beams: int = 1
    length_penalty: float = 1.0  # a beam's score is its log-likelihood / length^penalty
    seed: int = 0
    batch: int = 64  # prompts that go through the model at once

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.num_beams < 1 or self.batch < 1 or self.top_k < 0:
            raise UsageError("max_tokens, num_beams and batch must be at least 1, top_k at least 0")
        if not math.isfinite(self.temperature) or (self.temperature != 0 and self.temperature < COLDEST):
            raise UsageError(
                f"temperature must be 0 or at least {COLDEST}, got {self.temperature}",
                hint="0 takes the likeliest token",
            )
        if not math.isfinite(self.length_penalty):
            raise UsageError(f"length_penalty must be a number, got {self.length_penalty}")
        if not 0 < self.top_p <= 1:
            raise UsageError(
                f"top_p must lie above 0 and up to 1, got {self.top_p}", hint="1 takes every token"
            )
        if not 0 < self.typical_p <= 1:
            raise UsageError(f"typical_p must lie above 0 and up to 1, got {self.typical_p}")
        for name in ("min_p", "contrastive"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if self.contrastive and (self.top_k < 2 or self.temperature > 0 or self.num_beams > 1):
            raise UsageError(
                "contrastive search chooses among the top_k likeliest: it needs top_k of 2 or more, no"
                " temperature and one beam",
                hint="Su et al. 2022: top_k 4, contrastive 0.6",
            )
        if self.num_beams > 1 and self.temperature > 0:
            raise UsageError("beams search for the likeliest text, a temperature samples: choose one")


def load_model(
    path: Path, device: str = "auto", dtype: str = "fp32", group: Group | None = None
) -> tuple[Model, Meta]:
    """Load the newest checkpoint of a run folder, or the one named, ready for inference; `dtype` auto is bf16
    on a GPU that has it, fp32 on a CPU."""
    folder = find(path)
    meta = Meta.read(folder)
    place = group.device if group else torch_device(device)
    dtype = "fp32" if dtype == "auto" and place.type == "cpu" else dtype
    model = Model(meta.model).to(place)
    load(folder, {f"model.{name}": tensor for name, tensor in model.named_parameters()})
    model.dtype = compute_dtype(dtype, place)
    return model.eval(), meta


def complete(
    path: Path, prompts: list[str], sampling: Sampling, device: str = "auto", dtype: str = "auto"
) -> list[str]:
    """Continue texts with the model and tokenizer of a run folder; return the continuations without the
    prompts.

    Where torchrun's or Slurm's variables name several ranks, each continues its share; all return all.
    """
    with process_group(device) as group:
        model, meta = load_model(path, device, dtype, group)
        own = _complete(model, meta, path, prompts, sampling, group)
        return [text for part in zip_longest(*group.gather(own)) for text in part if text is not None]


def _complete(
    model: Model, meta: Meta, path: Path, prompts: list[str], sampling: Sampling, group: Group
) -> list[str]:
    tokenizer = load_tokenizer(find(path), meta.eos_id)
    ids = []
    for prompt in prompts:
        try:
            ids.append([meta.eos_id, *tokenizer.encode(check_text(prompt))])
        except ValueError as error:
            raise UsageError(f"a prompt cannot be encoded: {error}") from error
    vocab, mine = min(tokenizer.size, meta.model.vocab), slice(group.rank, None, group.world)
    keys = row_keys(ids, sampling.seed)[mine]  # of all prompts: equal ones on two ranks are drawn apart
    return [tokenizer.decode(out) for out in generate(model, ids[mine], meta.eos_id, sampling, vocab, keys)]


@torch.no_grad()
def generate(
    model: Model,
    prompts: list[Ids],
    eos_id: int,
    sampling: Sampling,
    vocab: int = 0,
    keys: list[int] | None = None,
) -> list[Ids]:
    """Return the tokens that follow each prompt, up to EOS (left out), `max_tokens` or the end of the
    context.

    With `vocab` only ids below it are drawn: a model's vocabulary may be larger than its tokenizer's.
    """
    for prompt in prompts:
        if not 0 < len(prompt) < model.config.context:
            raise UsageError(
                f"a prompt of {len(prompt)} tokens does not fit a context of {model.config.context}",
                hint="shorten it",
            )
    if sampling.contrastive:
        from gristmill.trainer.evaluation.contrastive import contrastive_search

        how = (sampling.top_k, sampling.contrastive, sampling.max_tokens, vocab or model.config.vocab)
        return [contrastive_search(model, prompt, eos_id, *how) for prompt in prompts]
    if sampling.num_beams > 1:
        return [_beam_search(model, prompt, eos_id, sampling, vocab) for prompt in prompts]
    out: list[Ids] = []
    keys = row_keys(prompts, sampling.seed) if keys is None else keys
    for start in range(0, len(prompts), sampling.batch):
        part = slice(start, start + sampling.batch)
        out += _sample(model, prompts[part], keys[part], eos_id, sampling, vocab)
    return out


def row_keys(prompts: list[Ids], seed: int) -> list[int]:
    """Return the seed of each row's draws."""
    seen: Counter[str] = Counter()
    keys = []
    for prompt in prompts:
        text = ",".join(map(str, prompt))
        digest = hashlib.blake2b(f"{seed}/{seen[text]}/{text}".encode(), digest_size=7).digest()
        keys.append(int.from_bytes(digest, "little"))
        seen[text] += 1
    return keys


def _sample(
    model: Model, prompts: list[Ids], keys: list[int], eos_id: int, sampling: Sampling, vocab: int
) -> list[Ids]:
    decoder = Decoder(model, prompts, sampling.max_tokens, vocab)
    generators = [torch.Generator().manual_seed(key) for key in keys]
    out: list[Ids] = [[] for _ in prompts]
    ended = [False] * len(prompts)
    limits = [min(sampling.max_tokens, model.config.context - len(prompt)) for prompt in prompts]
    logits = decoder.start()
    while True:
        tokens = [choose(row, sampling, generator) for row, generator in zip(logits, generators, strict=True)]
        for index, token in enumerate(tokens):
            if not ended[index] and token != eos_id:
                out[index].append(token)
            ended[index] = ended[index] or token == eos_id or len(out[index]) >= limits[index]
        if all(ended):
            return out
        logits = decoder.step(tokens)


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Draw one token from logits (vocab)."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = logits.float().cpu() / sampling.temperature
    if 0 < sampling.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(sampling.top_k).values[-1], -torch.inf)
    probabilities = logits.softmax(-1)
    if sampling.min_p:
        least = sampling.min_p * probabilities.max()
        probabilities = probabilities.masked_fill(probabilities < least, 0.0)
    if sampling.typical_p < 1:
        surprise = -(probabilities.clamp(min=torch.finfo(torch.float32).tiny)).log()
        off = (surprise - (probabilities * surprise).sum()).masked_fill(probabilities == 0, torch.inf)
        nearest = off.abs().argsort(stable=True)
        ordered = probabilities[nearest]
        outside = ordered.cumsum(-1) - ordered >= sampling.typical_p
        probabilities = probabilities.index_fill(0, nearest[outside], 0.0)
    if sampling.top_p < 1:
        ordered, index = probabilities.sort(descending=True, stable=True)
        outside = ordered.cumsum(-1) - ordered >= sampling.top_p
        probabilities = probabilities.index_fill(0, index[outside], 0.0)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _beam_search(model: Model, prompt: Ids, eos_id: int, sampling: Sampling, vocab: int = 0) -> Ids:
    """Keep the likeliest `num_beams` prefixes at each length; return the finished one with the best
    normalised score."""
    width, penalty = sampling.num_beams, sampling.length_penalty
    limit = min(sampling.max_tokens, model.config.context - len(prompt))
    decoder = Decoder(model, [prompt] * width, limit, vocab)
    beams: list[tuple[float, Ids]] = [(0.0, [])]
    ended: list[tuple[float, Ids]] = []
    logp = decoder.start().float().log_softmax(-1)[:1]
    for _ in range(limit):
        scores = torch.tensor([score for score, _ in beams], device=logp.device)[:, None] + logp
        best = scores.flatten().topk(min(2 * width, scores.numel()))
        rows: list[int] = []
        following: list[tuple[float, Ids]] = []
        for score, flat in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            row, token = divmod(flat, logp.shape[1])
            if token == eos_id:
                ended.append((score / (len(beams[row][1]) + 1) ** penalty, beams[row][1]))
            elif len(following) < width:
                rows.append(row)
                following.append((score, [*beams[row][1], token]))
        beams = following
        ended = sorted(ended, key=lambda pair: -pair[0])[:width]
        if len(beams[0][1]) == limit or (
            len(ended) == width and ended[-1][0] >= beams[0][0] / len(beams[0][1]) ** penalty
        ):
            break
        filled = rows + [rows[0]] * (width - len(rows))
        decoder.cache.reorder(torch.tensor(filled, device=logp.device))
        tokens = [ids[-1] for _, ids in beams]
        logp = decoder.step(tokens + tokens[:1] * (width - len(tokens))).float().log_softmax(-1)[: len(beams)]
    return max(
        [*ended, *((score / max(1, len(ids)) ** penalty, ids) for score, ids in beams)],
        key=lambda pair: pair[0],
    )[1]


class Decoder:
    """Feed a batch token by token: prompts are padded on the left, padding is masked and has no position."""

    def __init__(self, model: Model, prompts: list[Ids], max_tokens: int, vocab: int = 0) -> None:
        self.model, self.prompts, self.vocab = model, prompts, vocab or model.config.vocab
        config, weight = model.config, model.embed.weight
        self.longest = max(map(len, prompts))
        self.pad = torch.tensor([self.longest - len(prompt) for prompt in prompts], device=weight.device)
        like = torch.empty(0, dtype=model.dtype, device=weight.device)
        room = config.context - min(map(len, prompts))  # no row goes on beyond the context
        length = self.longest + min(max_tokens, room)
        self.cache = KVCache(
            config.num_layers, len(prompts), length, config.num_kv_heads, config.head_dim, like
        )

    def start(self) -> Tensor:
        """Feed the prompts; return the logits (rows, vocab) of the token that follows."""
        return self._feed([[0] * (self.longest - len(prompt)) + prompt for prompt in self.prompts])

    def step(self, tokens: Ids) -> Tensor:
        """Feed one token per row; return the logits of the next."""
        return self._feed([[token] for token in tokens])

    def _feed(self, rows: list[Ids]) -> Tensor:
        tokens = torch.tensor(rows, device=self.pad.device)
        place = torch.arange(self.cache.length, self.cache.length + tokens.shape[1], device=self.pad.device)
        keys = torch.arange(self.cache.length + tokens.shape[1], device=self.pad.device)
        seen = (keys <= place[:, None]) & (keys >= self.pad[:, None, None])
        seen = seen | (keys == place[:, None])  # padding sees itself: an empty row of attention has no value
        positions = (place - self.pad[:, None]).clamp(min=0, max=self.model.config.context - 1)
        logits: Tensor = self.model(tokens, positions, mask=seen[:, None], cache=self.cache, last=True)
        return logits[:, 0, : self.vocab]
