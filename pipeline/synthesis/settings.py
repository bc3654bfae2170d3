"""What a user says about text that a model writes: prompts, server, sampling, budget, checks."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gristmill.pipeline.synthesis.templates import AUDIENCES, STYLES, TEMPLATES


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Server(_Settings):
    """Any server that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp, `transformers serve`, a paid one.

    How it is reached is no part of what is made: left out of dumps, and so of every identity.
    """

    model: str = Field(min_length=1, description="as the server calls it")
    api: Literal["chat", "completions"] = Field(
        "chat",
        description="chat: /chat/completions; completions: /completions, for models without a chat form",
    )
    url: str | None = Field(
        None,
        exclude=True,
        description="such as http://localhost:8000/v1; only asked for what has no answer yet",
    )
    key_env: str = Field(
        "OPENAI_API_KEY",
        exclude=True,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="the environment variable that holds the key, on every machine that asks",
    )
    in_flight: int = Field(64, ge=1, le=20_000, exclude=True, description="requests at the same time")
    tasks: int = Field(
        1, ge=1, exclude=True, description="tasks that ask at the same time, and share `in_flight`"
    )
    timeout_seconds: float = Field(600.0, gt=0, exclude=True, description="of one request")
    attempts: int = Field(
        8, ge=1, exclude=True, description="at one request that the server answers with 5xx"
    )
    patience_seconds: float = Field(
        900.0, gt=0, exclude=True, description="how long a server that answers nothing at all is waited for"
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "http://unset.invalid")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"`url` is no address of http or https: {value!r}")
        if parts.username or parts.password or parts.query:
            raise ValueError("`url` may carry no user, password or query: a key comes by `key_env` alone")
        return value and value.rstrip("/")


class SamplingSettings(_Settings):
    """What is sent with each prompt; part of a request's identity."""

    max_tokens: int = Field(1024, ge=1, description="of an answer")
    temperature: float = Field(0.8, ge=0, description="0 takes the likeliest token")
    top_p: float = Field(0.95, gt=0, le=1, description="draws from the smallest set of this probability")
    stop: tuple[str, ...] = Field((), description="texts that end an answer")
    seed: int | None = Field(None, description="for servers that honour one")
    extra: dict[str, Any] = Field({}, description="further fields of the request, such as {top_k: 40}")

    def body(self) -> dict[str, Any]:
        """The fields of a request."""
        plain = {"max_tokens": self.max_tokens, "temperature": self.temperature, "top_p": self.top_p}
        stop = {"stop": list(self.stop)} if self.stop else {}
        seed = {"seed": self.seed} if self.seed is not None else {}
        return {**plain, **stop, **seed, **self.extra}


class Budget(_Settings):
    """What may be spent at most; prompts that do not fit are removed by `generate.budget`, unasked."""

    tokens: int | None = Field(None, ge=1, description="of prompts and answers together")
    money: float | None = Field(None, gt=0, description="in the currency of the prices")
    price_in: float = Field(0.0, ge=0, description="of a million tokens of prompts")
    price_out: float = Field(0.0, ge=0, description="of a million tokens of answers")

    @model_validator(mode="after")
    def _priced(self) -> Budget:
        if self.money is not None and not (self.price_in or self.price_out):
            raise ValueError("`money` needs `price_in` and `price_out`")
        return self

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6

    def shown(self) -> str:
        said = [f"{self.tokens:,} tokens"] if self.tokens else []
        return " and ".join([*said, *([f"{self.money:,.2f} of money"] if self.money else [])])


class Checks(_Settings):
    """Which answers are removed, each by a rule of its own."""

    refusals: bool = Field(
        True, description="answers that begin by declining, in 22 languages (`generate.refusal`)"
    )
    max_prompt_share: float = Field(
        0.3, ge=0, le=1, description="of the instruction's 8-grams that the answer repeats"
    )
    max_seed_share: float = Field(
        0.6, ge=0, le=1, description="of the answer's 8-grams that stand in its seed"
    )
    min_words: int = Field(20, ge=0, description="of an answer")
    truncated: Literal["remove", "cut", "keep"] = Field(
        "cut", description="answers that the length ended: removed, cut after their last sentence, or kept"
    )
    strip: bool = Field(
        True, description="take away <think> blocks, and a first line such as `Here is the text:`"
    )


class GenerateSettings(_Settings):
    """A source that a model writes: prompts from templates over the documents of other sources."""

    seeds: tuple[str, ...] = Field(
        (), description="sources whose documents are seeds; all of the recipe if unset"
    )
    templates: tuple[str, ...] | dict[str, float] = Field(
        ("cosmopedia",),
        description=f"by name, with weights if wanted: {', '.join(TEMPLATES)}, or of `prompts`",
    )
    prompts: dict[str, str] = Field(
        {}, description="templates of one's own: {text} stands for the passage, {audience} and {style}"
    )
    system: str | None = Field(None, description="a system message before each prompt")
    audiences: tuple[str, ...] = Field(AUDIENCES, min_length=1, description="of {audience}, one drawn")
    styles: tuple[str, ...] = Field(STYLES, min_length=1, description="of {style}, one drawn")
    fraction: float = Field(1.0, gt=0, le=1, description="of the documents, drawn by hash")
    min_seed_characters: int = Field(200, ge=1, description="shorter documents are no seeds")
    passage_characters: int = Field(4000, ge=50, description="of a seed that one prompt shows")
    passages: int = Field(1, ge=1, description="of one document at most, from its beginning")
    per_passage: int = Field(1, ge=1, description="prompts for each passage, by different draws")
    server: Server
    sampling: SamplingSettings = SamplingSettings()
    budget: Budget = Budget()
    checks: Checks = Checks()

    @model_validator(mode="after")
    def _known(self) -> GenerateSettings:
        known = {**TEMPLATES, **self.prompts}
        for name in self.templates:
            if name not in known:
                raise ValueError(f"no template `{name}`; there are {', '.join(known)}")
            if "{text}" not in known[name]:
                raise ValueError(f"the template `{name}` shows no seed: it lacks {{text}}")
        if not self.weights() or min(self.weights().values()) < 0 or not any(self.weights().values()):
            raise ValueError("`templates` needs weights above 0")
        return self

    def weights(self) -> dict[str, float]:
        """Templates with their weights."""
        listed = self.templates
        return dict(listed) if isinstance(listed, dict) else dict.fromkeys(listed, 1.0)

    def texts(self) -> dict[str, str]:
        """The wording of the templates that are used."""
        return {name: {**TEMPLATES, **self.prompts}[name] for name in self.weights()}
