"""What stands on a page, taken apart by a parser that knows nothing of how the page was made."""

from __future__ import annotations

from html.parser import HTMLParser


class Printed(HTMLParser):
    """The tables of a page by section: rows of cells, heads first; and all of its text by section."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.text: dict[str, str] = {"": ""}
        self._section = ""
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("section", "header"):
            self._section = dict(attrs).get("id") or "hero"
            self.text[self._section] = ""
        elif tag == "table":
            self.tables.setdefault(self._section, []).append([])
        elif tag == "tr":
            self.tables[self._section][-1].append([])
        elif tag in ("td", "th"):
            self._in_cell = True
            self.tables[self._section][-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        self.text[self._section] = self.text.get(self._section, "") + data
        if self._in_cell and self.get_starttag_text() != "<title>":  # a bar's title is for the ear
            self.tables[self._section][-1][-1][-1] += data

    def column(self, section: str, name: str, value: str, table: int = 0) -> dict[str, str]:
        """A table as one column by another, such as documents by language."""
        head, *rows = self.tables[section][table]
        return {row[head.index(name)]: row[head.index(value)] for row in rows}


def integers(column: dict[str, str]) -> dict[str, int]:
    return {name: int(value.replace(",", "")) for name, value in column.items()}
