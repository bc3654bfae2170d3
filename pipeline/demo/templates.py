"""Four templates with the furniture that real pages have around what they say."""

from __future__ import annotations

import functools
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

COOKIES = "We use cookies to improve your experience. By continuing you accept our use of cookies."
RIGHTS = "All rights reserved. Terms of use. Privacy policy. Cookie settings."

Link = tuple[str, str]  # (address, label)


@dataclass(frozen=True, slots=True)
class Content:
    """What a page says: a title, where it hangs, the article as HTML, and the pages it points to."""

    title: str
    section: str
    article: str
    neighbours: Sequence[Link] = ()
    note: str = ""


Render = Callable[[Content], str]


def _renderer(name: str) -> Render:
    def render(page: Content) -> str:
        before, after = _halves(page.article)
        return _template(name).substitute(
            title=html.escape(page.title),
            section=html.escape(page.section),
            article=page.article,
            before=before,
            after=after,
            links=_list(page.neighbours),
            previous=_list(page.neighbours[:1]),
            next=_list(page.neighbours[1:2]),
            note=page.note,
            cookies=COOKIES,
            rights=RIGHTS,
        )

    return render


manual = _renderer("manual")  # sidebar of contents, breadcrumbs, previous and next
reference = _renderer(
    "reference"
)  # of the older kind: tables for layout, upper-case tags, a menu on every page
index = _renderer("index")  # a package index: a banner, tabs, a column of facts, similar packages
journal = _renderer(
    "journal"
)  # a blog: a call to subscribe inside the article, share buttons, recent posts, comments


@functools.cache
def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(f"{name}.html").read_text(encoding="utf-8"))


def _halves(article: str) -> tuple[str, str]:
    """Cut an article after a paragraph near its middle, where blogs put what they want you to see."""
    cut = article.find("</p>", len(article) // 2)
    return (article[: cut + 4], article[cut + 4 :]) if cut >= 0 else (article, "")


def _list(links: Sequence[Link]) -> str:
    return "".join(
        f'<li><a href="{html.escape(address)}">{html.escape(label)}</a></li>' for address, label in links
    )
