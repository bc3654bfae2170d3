"""Books: every item and every byte that enters a step leaves it as kept, removed, failed, or named
otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gristmill.errors import BooksError
from gristmill.files.sealed import whole


@dataclass(slots=True)
class Books:
    """What went into a step and where it went.

    `items` are records for extraction and documents for text stages; `bytes` are payload bytes for extraction
    and UTF-8 text bytes for text stages. The outlets of items are `kept`, `removed`, `failed` and named
    others such as `warcinfo`. The outlets of bytes are the same, and `deleted`; `inserted_bytes` is what
    edits put in. `created_bytes` counts text that extraction made: it has no counterpart on the way in.
    """

    items_in: int = 0
    bytes_in: int = 0
    items_out: Counter[str] = field(default_factory=Counter)
    bytes_out: Counter[str] = field(default_factory=Counter)
    inserted_bytes: int = 0
    created_bytes: int = 0
    by_rule_first: Counter[str] = field(default_factory=Counter)
    by_rule_any: Counter[str] = field(default_factory=Counter)
    by_error: Counter[str] = field(default_factory=Counter)

    def balance(self, what: str) -> None:
        """Raise BooksError unless everything that came in went out."""
        items, bytes_ = sum(self.items_out.values()), sum(self.bytes_out.values()) - self.inserted_bytes
        for unit, entered, left in (("items", self.items_in, items), ("bytes", self.bytes_in, bytes_)):
            if entered != left:
                outlets = self.items_out if unit == "items" else self.bytes_out
                raise BooksError(
                    f"the books of {what} do not balance: {entered:,} {unit} came in, {left:,} went out"
                    f" ({_spell(outlets)})",
                    hint=(
                        "nothing was published; this is a defect, please report it with the record named"
                        " above"
                    ),
                )
        named = {"removed": self.by_rule_first, "failed": self.by_error}
        for outlet, reasons in named.items():
            if sum(reasons.values()) != self.items_out[outlet]:
                raise BooksError(
                    f"the books of {what} do not balance: {self.items_out[outlet]:,} items {outlet}, "
                    f"but {sum(reasons.values()):,} with a reason ({_spell(reasons)})"
                )

    def as_json(self) -> dict[str, Any]:
        return {
            "items_in": self.items_in,
            "bytes_in": self.bytes_in,
            "items_out": _sorted(self.items_out),
            "bytes_out": _sorted(self.bytes_out),
            "inserted_bytes": self.inserted_bytes,
            "created_bytes": self.created_bytes,
            "by_rule_first": _sorted(self.by_rule_first),
            "by_rule_any": _sorted(self.by_rule_any),
            "by_error": _sorted(self.by_error),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read them back; raises KeyError, TypeError or AttributeError for what are no books."""
        books = cls()
        for name in ("items_in", "bytes_in", "inserted_bytes", "created_bytes"):
            setattr(books, name, whole(data[name], name))
        for name in ("items_out", "bytes_out", "by_rule_first", "by_rule_any", "by_error"):
            for key, value in data[name].items():
                getattr(books, name)[key] = whole(value, key)
        return books

    def add(self, part: Books) -> None:
        """Enter what is in another's books into these, too."""
        for name in ("items_in", "bytes_in", "inserted_bytes", "created_bytes"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        for name in ("items_out", "bytes_out", "by_rule_first", "by_rule_any", "by_error"):
            getattr(self, name).update(getattr(part, name))

    @classmethod
    def total(cls, parts: Iterable[Books]) -> Books:
        total = cls()
        for part in parts:
            total.add(part)
        return total


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts) if counts[name]}


def _spell(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in _sorted(counts).items()) or "nothing"
