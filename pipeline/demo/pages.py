"""The pages of a small web: documentation on five hosts, copies of some of it, and what a crawler picks up
besides."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from gristmill.hashing import digest16
from gristmill.pipeline.demo import harvest, markup, templates
from gristmill.pipeline.demo.harvest import DemoPassage, Documented
from gristmill.pipeline.demo.templates import Content, Render

MIN_PAGE_CHARACTERS = 350
MIN_MEMBER_CHARACTERS = 600  # a class or function that says this much has a page of its own
MAX_PAGES = {"manual": 400, "reference": 650, "journal": 550, "index": 120}
_MAX_MEMBERS = 25
_MAX_ARTICLE_CHARACTERS = 30_000
_VERSION_FRACTION, _MIRROR_FRACTION, _PRINT_FRACTION = 0.30, 0.25, 0.10  # of the manual's pages


@dataclass(frozen=True, slots=True)
class DemoPage:
    """One answer of a server."""

    url: str
    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: str = "200 OK"


@dataclass(frozen=True, slots=True)
class Article:
    """Something to publish: where, under which title and section, and what it says."""

    path: str
    title: str
    section: str
    body: str


def draw(seed: int, *key: str) -> float:
    """Return a number in [0, 1) that depends on the seed and the key alone."""
    return int.from_bytes(digest16(str(seed), *key)[:6], "little") / 2.0**48


def build_pages(seed: int) -> list[DemoPage]:
    """Return every page of the small web; the same machine and seed give the same pages in the same order."""
    manual, reference, journal = _from_modules(seed)
    index = [_from_description(passage) for passage in web_descriptions(seed)]
    pages = [
        *_publish("https://docs.example/3", templates.manual, _some(seed, "manual", manual)),
        *_publish(
            "http://api.example", templates.reference, _some(seed, "reference", reference), "iso-8859-1"
        ),
        *_publish("https://notes.example/2025", templates.journal, _some(seed, "journal", journal)),
        *_publish("https://packages.example/project", templates.index, _some(seed, "index", index)),
        *_copies(seed, _some(seed, "manual", manual)),
    ]
    return [*pages, *_besides(seed, pages)]


def web_descriptions(seed: int) -> list[DemoPassage]:
    """The half of the long descriptions that is on the web; the other half is curated prose."""
    return [passage for passage in harvest.descriptions() if draw(seed, "web", passage.key) < 0.5]


def _some(seed: int, site_name: str, articles: Sequence[Article]) -> list[Article]:
    chosen = sorted(articles, key=lambda article: digest16(str(seed), site_name, article.path))[
        : MAX_PAGES[site_name]
    ]
    return sorted(chosen, key=lambda article: article.path)


def _from_modules(seed: int) -> tuple[list[Article], list[Article], list[Article]]:
    """Split modules over the sites: the standard library into the manual, packages between reference and
    journal."""
    manual: list[Article] = []
    others: list[Article] = []
    for module in harvest.standard_library_modules():
        page, *members = _articles(module, "The Standard Library")
        manual.append(page)
        others += members
    for name, dist in harvest.distributions():
        for module in harvest.package_modules(name, dist):
            others += _articles(module, name)
    manual, others = (
        [article for article in articles if len(article.body) >= MIN_PAGE_CHARACTERS]
        for articles in (manual, others)
    )
    told = {article.path: draw(seed, "journal", article.path) < 0.45 for article in others}
    return manual, [one for one in others if not told[one.path]], [one for one in others if told[one.path]]


def _articles(module: Documented, section: str) -> list[Article]:
    """The module's own page first, with its smaller members in it, then a page for each that says enough."""
    large = [member for member in module.members if member.num_characters >= MIN_MEMBER_CHARACTERS]
    small = [member for member in module.members if member.num_characters < MIN_MEMBER_CHARACTERS]
    page = replace(module, members=tuple(small[:_MAX_MEMBERS]))
    return [
        Article(
            f"{_path(each.name)}.html",
            f"{each.name} {each.kind}" if each is page else each.name,
            section,
            _body(each),
        )
        for each in [page, *large]
    ]


def _path(name: str) -> str:
    return "/".join(name.split("."))


def _body(documented: Documented) -> str:
    parts = [markup.to_html(markup.parse(documented.text))]
    if documented.kind != "module":
        parts.insert(
            0,
            f"<p><code>{documented.kind}"
            f" {html.escape(documented.short_name + documented.signature)}</code></p>",
        )
    for member in documented.members[:_MAX_MEMBERS]:
        heading = html.escape(f"{member.short_name}{member.signature}", quote=False)
        parts.append(f"<h3><code>{heading}</code></h3>\n{markup.to_html(markup.parse(member.text))}")
    return "\n".join(parts)[:_MAX_ARTICLE_CHARACTERS]


def _from_description(passage: DemoPassage) -> Article:
    body = markup.to_html(markup.parse(passage.text[:_MAX_ARTICLE_CHARACTERS]))
    return Article(f"{passage.title.lower()}/", passage.title, "Packages", body)


def _publish(
    root: str, render: Render, articles: Sequence[Article], charset: str = "utf-8", note: str = ""
) -> Iterator[DemoPage]:
    addresses = [(f"/{article.path}", article.title) for article in articles]
    for number, article in enumerate(articles):
        near = [*addresses[number + 1 : number + 13], *addresses[: max(0, number + 13 - len(addresses))]]
        text = render(Content(article.title, article.section, article.body, near, note))
        # The older site names its charset in the header alone, and writes what does not fit as character
        # references.
        yield DemoPage(
            f"{root}/{article.path}",
            text.encode(charset, "xmlcharrefreplace"),
            f"text/html; charset={charset}",
        )


def _copies(seed: int, manual: Sequence[Article]) -> Iterator[DemoPage]:
    """Older versions with small differences, a mirror in another template, and the same page under a second
    address."""

    def drawn(purpose: str, fraction: float) -> list[Article]:
        return [article for article in manual if draw(seed, purpose, article.path) < fraction]

    older = [replace(article, body=_older(article.body)) for article in drawn("version", _VERSION_FRACTION)]
    yield from _publish(
        "https://docs.example/2", templates.manual, older, note="This is the manual of an older version."
    )
    mirrored = drawn("mirror", _MIRROR_FRACTION)
    yield from _publish(
        "http://mirror.example/manual", templates.journal, mirrored, "windows-1252", "Mirrored weekly."
    )
    printed = list(_publish("https://docs.example/3", templates.manual, drawn("print", _PRINT_FRACTION)))
    yield from (
        replace(page, url=f"{page.url}?print=1&sessionid={digest16(page.url).hex()[:8]}") for page in printed
    )


def _older(body: str) -> str:
    """The article as it stood before: one paragraph in nine is missing, some words were others."""
    paragraphs = body.split("</p>")
    kept = [text for number, text in enumerate(paragraphs) if number % 9 != 4 or len(paragraphs) < 6]
    return "</p>".join(kept).replace("optional", "not required").replace("Return ", "Returns ")


def _besides(seed: int, pages: Sequence[DemoPage]) -> Iterator[DemoPage]:
    """What no one reads: logins, listings, stubs, errors, redirects, spam, and files that are no pages."""
    sampled = sorted(pages, key=lambda page: digest16(str(seed), "besides", page.url))
    for number, page in enumerate(sampled[:330]):
        kind = _KINDS[number % len(_KINDS)]
        yield kind(page, number, sampled)


def _frame(page: DemoPage, title: str, body: str, status: str = "200 OK", path: str = "") -> DemoPage:
    host = page.url.split("/")[2]
    text = templates.journal(
        Content(title, "General", body, [("/", "Home"), ("/login", "Log in"), ("/sitemap", "Sitemap")])
    )
    return DemoPage(f"https://{host}/{path}", text.encode(), status=status)


def _login(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    form = (
        "<form><label>User name</label><input><label>Password</label><input type='password'><button>Log"
        " in</button></form>"
    )
    return _frame(
        page, "Log in", f"{form}<p>Forgot your password? Create an account.</p>", path=f"login?next={number}"
    )


def _listing(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    start = number * 7 % max(1, len(others) - 60)
    items = "".join(
        f"<li><a href='{html.escape(other.url)}'>{html.escape(other.url)}</a></li>"
        for other in others[start : start + 60]
    )
    return _frame(
        page, f"Pages tagged {number}", f"<ul>{items}</ul><p>1 2 3 ... 14 Next</p>", path=f"tag/{number}"
    )


def _stub(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    return _frame(
        page, "Untitled", f"<p>This page has no content yet. ({number})</p>", path=f"drafts/{number}"
    )


def _policy(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    text = (
        f"<p>{templates.COOKIES}</p>"
        + "<p>This privacy policy explains what we collect, why we collect it and how long we keep it.</p>"
        * 4
    )
    return _frame(page, "Privacy policy", text, path=f"privacy?lang={number}")


def _filler(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    words = (
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut"
        " labore. "
    )
    return _frame(page, "Sample page", f"<p>{words * (4 + number % 5)}</p>", path=f"sample-page-{number}")


def _spam(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    line = f"<p>Best cheap modules download {number} free now!!! Click here for the best price.</p>"
    return _frame(page, "BEST PRICE", line * (12 + number % 9), path=f"offers/{number}")


def _missing(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    body = (
        "<p>The page you were looking for could not be found. Check the address or go back to the start"
        " page.</p>"
    )
    return _frame(page, "404 Not Found", body, "404 Not Found", f"old/{number}")


def _moved(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    return _frame(
        page,
        "301 Moved Permanently",
        "<p>The document has moved.</p>",
        "301 Moved Permanently",
        f"moved/{number}",
    )


def _broken(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    return DemoPage(f"{page.url}?debug={number}", b"", status="500 Internal Server Error")


def _style(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    rules = f".col-{number} {{ width: {number}px; }}\n" * 30
    return DemoPage(f"https://{page.url.split('/')[2]}/static/{number}.css", rules.encode(), "text/css")


def _picture(page: DemoPage, number: int, others: Sequence[DemoPage]) -> DemoPage:
    data = b"\x89PNG\r\n\x1a\n" + digest16(page.url) * 12
    return DemoPage(f"https://{page.url.split('/')[2]}/static/{number}.png", data, "image/png")


_KINDS: Sequence[Callable[[DemoPage, int, Sequence[DemoPage]], DemoPage]] = (
    _login, _listing, _stub, _policy, _filler, _spam, _missing, _moved, _broken, _style, _picture,
)  # fmt: skip


def num_by_host(pages: Iterable[DemoPage]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for page in pages:
        host = page.url.split("/")[2]
        counts[host] = counts.get(host, 0) + 1
    return dict(sorted(counts.items()))
