"""HTML and SVG that cannot be broken into: every text is escaped unless it was built here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gristmill.files.inside import inert

_VOID = frozenset({"meta", "link", "br", "input", "rect", "line", "path", "polyline", "polygon", "circle"})


class Html(str):
    """Markup, as opposed to text; only this module and drawings make it."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Turn text into markup that shows it: escaped, and with control and reordering characters spelled
    out."""
    return value if isinstance(value, Html) else Html(html.escape(inert(str(value)), quote=True))


def join(parts: Iterable[object], between: str = "") -> Html:
    return Html(between.join(escape(part) for part in parts))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Build an element; `class_` and `for_` drop the underline, `data_x` becomes data-x, None and False leave
    an attribute out."""
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        shown = key.rstrip("_").replace("_", "-")
        written.append(f" {shown}" if value is True else f' {shown}="{escape(value)}"')
    opening = f"<{name}{''.join(written)}"
    if name in _VOID and not children:
        return Html(f"{opening}/>")
    return Html(f"{opening}>{join(children)}</{name}>")


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell: what it shows, what it sorts by, and whether it is a number."""

    shown: object
    value: float | str | None = None
    class_: str | None = None


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    sortable: bool = True,
    caption: str | None = None,
) -> Html:
    """Build a table that scrolls by itself where the page is narrow; a column is numeric if any of its values
    is."""
    numeric = [any(_is_number(row[column]) for row in rows) for column in range(len(head))]
    heads = []
    for column, title in enumerate(head):
        sorts = (
            sortable and len(rows) > 1 and title
        )  # what has no title only illustrates the column beside it
        sort = tag("button", title, type="button", class_="sort") if sorts else escape(title)
        heads.append(tag("th", sort, scope="col", class_="num" if numeric[column] else None))
    body = [tag("tr", *(_cell(cell, numeric[column]) for column, cell in enumerate(row))) for row in rows]
    inner = [tag("caption", caption)] if caption else []
    return tag(
        "div", tag("table", *inner, tag("thead", tag("tr", *heads)), tag("tbody", *body)), class_="scroll"
    )


def _is_number(cell: object) -> bool:
    value = cell.value if isinstance(cell, Cell) else cell
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(cell: object, numeric: bool) -> Html:
    made = cell if isinstance(cell, Cell) else Cell(cell)
    shown = "" if made.shown is None else made.shown
    classes = " ".join(name for name in ("num" if numeric else "", made.class_ or "") if name)
    return tag("td", shown, class_=classes or None, data_v=made.value)


@dataclass(frozen=True, slots=True)
class PageSection:
    """One part of the page; `short` is its name in the bar of links where the title is long."""

    key: str
    title: str
    body: Html
    lead: str | Html = ""
    short: str = ""


def note(text: object) -> Html:
    return tag("p", text, class_="note")


def figure(title: object, *children: object) -> Html:
    """A card with a chart or table under its title."""
    return tag("figure", tag("figcaption", title), *children, class_="card")


def legend(keys: Iterable[tuple[str, str]]) -> Html:
    """What colours stand for: CSS class and name."""
    return tag("p", *(tag("span", name, class_=f"key {class_}") for class_, name in keys), class_="legend")


def command(*words: object) -> Html:
    """A command to copy: a click takes all of it."""
    return tag("code", " ".join(str(word) for word in words), class_="command")


def details(summary: object, *children: object, open_: bool = False) -> Html:
    return tag("details", tag("summary", summary), *children, open=open_)
