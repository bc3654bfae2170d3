"""Settings of the filters that need lists, models or code; presets are in `presets.py`."""

from __future__ import annotations

import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gristmill.filters.rules import Bound
from gristmill.no_code import refuse_code
from gristmill.text.languages import check_language

_DATATROVES_OWN = "datatrove.pipeline.filters."


class FilterSection(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Bounded(FilterSection):
    """A bound written as fields beside the others: kept if min <= value <= max, above < value < below."""

    min: float | None = Field(None, description="the least that is kept")
    max: float | None = Field(None, description="the most that is kept")
    above: float | None = Field(None, description="only more than this is kept")
    below: float | None = Field(None, description="only less than this is kept")

    @property
    def bound(self) -> Bound:
        return Bound(self.min, self.max, self.above, self.below)

    @model_validator(mode="after")
    def _satisfiable(self) -> Self:
        if problem := self.bound.contradiction():
            raise ValueError(f"the bounds contradict each other: {problem}")
        return self


class AgeSettings(FilterSection):
    """Documents by the date they were fetched or published."""

    after: datetime.date | None = Field(None, description="keep from this day on")
    before: datetime.date | None = Field(None, description="keep up to the day before this one")
    undated: Literal["keep", "remove"] = Field("keep", description="what becomes of documents without a date")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.after and self.before and self.after >= self.before:
            raise ValueError(f"no day is from {self.after} on and before {self.before}")
        return self


class UrlSettings(FilterSection):
    """Lists are text files, one entry a line, `#` for comments; of domains and URLs also `.u64` files made by
    `build_list`."""

    domains: tuple[str, ...] = Field(
        (), description="files of domains; a listed domain blocks its subdomains"
    )
    urls: tuple[str, ...] = Field((), description="files of URLs, compared after C4's normalisation")
    words: tuple[str, ...] | dict[str, float] = Field(
        (),
        description=(
            "files of `word` or `word<TAB>score`; a word of the URL adds its score, 1 if none; or `file:"
            " score` of words without one, such as RefinedWeb's soft words 1, hard words 2"
        ),
    )
    max_word_score: float = Field(
        1, ge=0, description="datatrove's URLFilter removes at two soft words; give hard words score 2"
    )
    substrings: tuple[str, ...] = Field(
        (), description="files of strings that may not occur in the URL's letters and digits"
    )
    mark: bool = Field(
        False, description="measure only: nothing is removed (RedPajama-V2's blacklist signal)"
    )
    curated: tuple[str, ...] = Field(
        (),
        description=(
            "files of domains that the corpus has from curated sources: their pages go by a rule of their own"
            " (RefinedWeb, appendix G.1)"
        ),
    )


class LanguageSettings(FilterSection):
    """Documents by language: as the extraction found it, by CLD2, or by a fastText model."""

    keep: tuple[str, ...] = Field(
        min_length=1,
        description="language codes, such as en, de, zh; zh-Hant and sr-Latn ask for a script, too; of texts"
        " of a few sentences some are told as a relative: keep [id, ms], [mk, sr], [sr, hr], [gl, es, pt]",
    )
    min_score: float = Field(
        0.65, ge=0, le=1, description="CCNet's threshold for fastText, used by RefinedWeb and FineWeb"
    )
    detector: str = Field(
        "document",
        description="document: the columns of the extraction; auto: as the extraction does; pycld2; or a"
        " fastText model by path",
    )

    @field_validator("keep", mode="before")
    @classmethod
    def _codes(cls, keep: Any) -> Any:
        for code in keep if isinstance(keep, list | tuple) else ():
            check_language(code)
        return keep


class StopWordSettings(FilterSection):
    """Stop words by language: a text in a language that has few of them is none (Gopher's rule, for all)."""

    lists: dict[str, tuple[str, ...] | str] = Field(
        {}, description="language code: its stop words, or a file of them; besides those of `by_language`"
    )
    min: int = Field(2, ge=0, description="distinct ones that a document must have (Gopher: 2)")


class WordListSettings(Bounded):
    """Words that documents may not hold: C4's badwords, toxicity or NSFW lists."""

    name: str = Field("badwords", pattern=r"^[a-z][a-z0-9_-]*$", description="of its rule")
    lists: dict[str, str] = Field(min_length=1, description="language code: file of words, one a line")
    default_language: str = Field("en", description="the list for documents of unknown language")
    max: float | None = Field(0, description="occurrences; C4 removes at the first")
    max_fraction: float | None = Field(None, ge=0, le=1, description="occurrences per word")
    keep_fraction: float = Field(
        0.0, ge=0, le=1, description="documents spared, by hash of seed and id; mC4 spares 0.001"
    )


class ModelSettings(Bounded):
    """A fastText classifier by path: the probability of one label against bounds."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", description="of its rule")
    path: str = Field(description="a fastText model")
    label: str = Field(description="with or without `__label__`")
    unit: Literal["document", "sentence"] = Field(
        "document",
        description=(
            "document: a text outside the bounds is removed; sentence: each sentence outside them is cut, as"
            " Dolma cuts what its Jigsaw models score 0.4 and more"
        ),
    )
    max_characters: int = Field(20_000, ge=100, description="of a text, from its start")


class FunctionSettings(Bounded):
    """A function of one's own, from text to a number."""

    function: str = Field(description="path.py:name")
    name: str | None = Field(
        None, pattern=r"^[a-z][a-z0-9_-]*$", description="of the rule; the function's when unset"
    )

    @field_validator("function")
    @classmethod
    def _path_and_name(cls, value: str) -> str:
        path, colon, name = value.rpartition(":")
        if not colon or not path.endswith(".py") or not name.isidentifier():
            raise ValueError(f"`function` must be `path.py:name`, got {value!r}")
        refuse_code(f"`{value}`")
        return value

    @model_validator(mode="after")
    def _has_bound(self) -> Self:
        if self.bound == Bound():
            raise ValueError(f"`{self.function}` needs a bound: min, max, above or below")
        return self

    @property
    def rule(self) -> str:
        return self.name or self.function.rpartition(":")[2]


class DatatroveSettings(FilterSection):
    """A datatrove filter block, by the path of its class."""

    filter: str = Field(
        pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$",
        description="such as datatrove.pipeline.filters.RegexFilter",
    )
    arguments: dict[str, Any] = Field({}, description="of its constructor")

    @field_validator("filter")
    @classmethod
    def _code_is_allowed(cls, value: str) -> str:
        if not value.startswith(_DATATROVES_OWN):
            refuse_code(f"`{value}`")
        return value

    @property
    def is_own_code(self) -> bool:
        """Whether the class comes from elsewhere than datatrove."""
        return not self.filter.startswith(_DATATROVES_OWN)


class PiiSettings(FilterSection):
    """Personal data to replace; defaults are FineWeb's."""

    email: bool = Field(True, description="replace e-mail addresses")
    ip: bool = Field(True, description="public addresses only")
    phone: bool = Field(False, description="North American numbers, by Dolma's pattern")
    email_replacements: tuple[str, ...] = Field(
        ("email@example.com", "firstname.lastname@example.org"), min_length=1
    )
    ip_replacements: tuple[str, ...] = Field(
        (
            "22.214.171.124",
            "126.96.36.199",
            "188.8.131.52",
            "184.108.40.206",
            "220.127.116.11",
            "18.104.22.168",
        ),
        min_length=1,
        description="addresses that answered no ping when FineWeb chose them",
    )
    phone_replacements: tuple[str, ...] = Field(("555-0100",), min_length=1)
    max_matches: int | None = Field(None, ge=0, description="remove a document with more")
