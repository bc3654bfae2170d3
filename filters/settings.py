"""What a filter stage is told to do: presets by name with overrides, and filters that need lists, models or
code.

    filter:
      language: {keep: [en], min_score: 0.65}
      presets: [gopher, gopher-repetition, c4-code, fineweb]
      set: {gopher.mean_word_length.max: 12, c4-code.page_chars: off}
      pii: {}

They run in the order age, url, language, presets as listed, wordlists, models, datatrove, rules, pii, or as
`order` says. Those that edit text end a pass: what follows measures the edited text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gristmill.filters.options import (
    AgeSettings,
    DatatroveSettings,
    FilterSection,
    FunctionSettings,
    LanguageSettings,
    ModelSettings,
    PiiSettings,
    StopWordSettings,
    UrlSettings,
    WordListSettings,
)
from gristmill.filters.preset import Preset
from gristmill.filters.presets import PRESETS
from gristmill.filters.rules import SIDES, Bound
from gristmill.text.languages import check_language


class FilterSettings(FilterSection):
    """An ordered list of filters; see the module's example."""

    presets: tuple[str, ...] = Field((), description="published rule sets, in the order they run")
    set: dict[str, Any] = Field(
        {}, description="`preset.rule.side: bound`, `preset.rule: off`, or `preset.parameter: value`"
    )
    by_language: dict[str, dict[str, Any] | str] = Field(
        {},
        description=(
            "language code: bounds of presets, as in `set`, and `language.score.min`, that hold for its"
            " documents instead; or the path of a language's thresholds as FineWeb-2 publishes them"
        ),
    )
    stop_words: StopWordSettings | None = None
    age: AgeSettings | None = None
    url: UrlSettings | None = None
    language: LanguageSettings | None = None
    wordlists: tuple[WordListSettings, ...] = ()
    models: tuple[ModelSettings, ...] = ()
    datatrove: tuple[DatatroveSettings, ...] = ()
    rules: tuple[FunctionSettings, ...] = ()
    pii: PiiSettings | None = None
    order: tuple[str, ...] = Field(
        (), description="names of filters in the order they run, all of those that are set; see above"
    )
    sample: float | None = Field(
        None,
        gt=0,
        le=1,
        description="this share of documents, by hash of seed and id; the others are removed",
    )
    annotate: bool = Field(
        False,
        description=(
            "measure only: no document is removed and no text edited, so that every filter measures the text"
            " as it came; what each would have removed stands in `decisions`"
        ),
    )
    measure: Literal["all", "survivors"] = Field(
        "all",
        description=(
            "all: every pass measures every document, so that `recut` can loosen any bound; survivors:"
            " cheaper"
        ),
    )

    @field_validator("presets")
    @classmethod
    def _known_presets(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in PRESETS:
                raise ValueError(
                    f"no preset is called `{name}`{nearest(name, PRESETS)}; there are {', '.join(PRESETS)}"
                )
            if names.count(name) > 1:
                raise ValueError(f"the preset `{name}` is listed twice")
        return names

    @field_validator("set", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return dict(_flatten(value)) if isinstance(value, Mapping) else value

    @field_validator("by_language", mode="before")
    @classmethod
    def _each_flat(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        for code in value:
            check_language(code)
        return {
            code: dict(_flatten(said)) if isinstance(said, Mapping) else said for code, said in value.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The filters in their default order: cheap gates on the source first, replacements last."""
        gates = [name for name in ("sample", "age", "url", "language") if getattr(self, name) is not None]
        words = ["stop-words"] if self.stop_words is not None else []
        lists = [*words, *(part.name for part in self.wordlists)] + [part.name for part in self.models]
        peers = [f"datatrove.{part.filter.rpartition('.')[2]}" for part in self.datatrove]
        own = [f"rules.{part.rule}" for part in self.rules]
        return (*gates, *self.presets, *lists, *peers, *own, *(["pii"] if self.pii is not None else []))

    def without_code(self) -> FilterSettings:
        """These filters but for those that are code of the recipe's own."""
        kept = tuple(part for part in self.datatrove if not part.is_own_code)
        part = self.model_copy(update={"rules": (), "datatrove": kept})
        return part.model_copy(update={"order": tuple(name for name in self.order if name in part.names)})

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two filters are called `{name}`; give one another `name`")
        for name in self.order:
            if name not in names:
                raise ValueError(f"`order` names `{name}`, which is not set{nearest(name, names)}")
        if self.order and sorted(self.order) != sorted(names):
            missing = [name for name in names if name not in self.order]
            raise ValueError(
                "`order` must name every filter once; it lacks"
                f" {', '.join(missing) or 'none and repeats some'}"
            )
        return self

    @model_validator(mode="after")
    def _overrides_fit(self) -> Self:
        for language, said in self.by_language.items():
            for key in said if isinstance(said, dict) else ():
                if key.partition(".")[0] not in self.names:
                    raise ValueError(
                        f"`by_language.{language}` changes `{key}`, which no filter set here has"
                        f" ({', '.join(self.names) or 'none'})"
                    )
        for preset in self.presets:
            resolve(preset, self.set)
        for key in self.set:
            if key.partition(".")[0] not in self.presets:
                known = [f"{name}.{rule}" for name in self.presets for rule in _names(name)]
                listed = ", ".join(self.presets) or "none"
                raise ValueError(
                    f"`set` changes `{key}`, which no preset listed here has ({listed}){nearest(key, known)}"
                )
        return self


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _names(preset: str) -> list[str]:
    own = PRESETS[preset]
    return [*(rule.name.partition(".")[2] for rule in own.rules), *own.parameters]


def resolve(name: str, overrides: Mapping[str, Any]) -> tuple[dict[str, Bound | None], dict[str, Any]]:
    """Apply the overrides of one preset: return its changed bounds by rule, and its changed parameters.

    Raises ValueError on an unknown name, a wrong type, or bounds that no value satisfies.
    """
    preset = PRESETS[name]
    bounds: dict[str, Bound | None] = {}
    parameters: dict[str, Any] = {}
    rules = {rule.name: rule.bound for rule in preset.rules}
    for key, value in overrides.items():
        owner, _, rest = key.partition(".")
        if owner != name:
            continue
        target, _, side = rest.partition(".")
        rule = f"{name}.{target}"
        if target in preset.parameters and not side:
            parameters[target] = _parameter(key, preset.parameters[target], value)
        elif rule in rules and not side and value in (None, False, "off"):
            bounds[rule] = None
        elif rule in rules and side in SIDES:
            bounds[rule] = (bounds.get(rule) or rules[rule]).with_side(side, _number(key, value))
        elif rule in rules:
            raise ValueError(
                f"`{key}`: a bound is one of {', '.join(SIDES)}, or the rule itself is set to `off`"
            )
        else:
            raise ValueError(f"the preset `{name}` has no `{target}`{nearest(target, _names(name))}")
    _check_needs(preset, bounds, parameters)
    for rule, bound in bounds.items():
        if bound is not None and (problem := bound.contradiction()):
            raise ValueError(f"the bounds of `{rule}` contradict each other: {problem}")
        fraction = next(own for own in preset.rules if own.name == rule).name.endswith("_fraction")
        if bound is not None and fraction:
            for side in SIDES:
                limit = getattr(bound, side)
                if limit is not None and not 0 <= limit <= 1:
                    raise ValueError(
                        f"`{rule}.{side}` is a fraction and must lie between 0 and 1, got {limit:g}"
                    )
    return bounds, parameters


def _check_needs(preset: Preset, bounds: Mapping[str, Bound | None], parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for a bound on what is not measured, and for a parameter by which nothing is."""
    lacking = preset.unmeasured(parameters)
    for rule in preset.rules:
        if bounds.get(rule.name) is not None and rule.signal in lacking:
            listed = " and ".join(f"`{preset.name}.{name}`" for name in lacking[rule.signal])
            raise ValueError(f"`{rule.name}` is measured only where {listed} is set")
    for name in (name for name, value in parameters.items() if value):
        ways = {signal: needed for signal, needed in preset.needs.items() if name in needed}
        if ways and all(signal in lacking for signal in ways):
            others = dict.fromkeys(part for signal in ways for part in lacking[signal])
            listed = " or ".join(f"`{preset.name}.{other}`" for other in others)
            raise ValueError(f"by `{preset.name}.{name}` alone nothing is measured: set {listed}, too")


def _number(key: str, value: Any) -> float | None:
    if value in (None, "off") or value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"`{key}` must be a number or `off`, got {value!r}")
    return float(value)


def _parameter(key: str, default: Any, value: Any) -> Any:
    if key.endswith(".languages"):
        if value is not None and not isinstance(value, (list, tuple)):
            raise ValueError(f"`{key}` must be a list of language codes, or null for all, got {value!r}")
        return None if value is None else tuple(value)
    if key.partition(".")[2] in PRESETS[key.partition(".")[0]].lists:
        return value if value is None else str(value)
    wanted = bool if isinstance(default, bool) else (int, float)
    if not isinstance(value, wanted) or isinstance(value, bool) is not isinstance(default, bool):
        raise ValueError(f"`{key}` must be like its default {default!r}, got {value!r}")
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the nearest known name, as the tail of a message."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean `{found[0]}`?" if found else ""
