"""What pages and their HTTP heads say of their use: marks of Creative Commons, robots metas, TDMRep."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from gristmill.pipeline.extract import statements
from gristmill.pipeline.extract.statements import licence_code, of_head, of_page, together
from gristmill.pipeline.sources.archives.httpmessage import parse_headers

BY = "https://creativecommons.org/licenses/by/4.0/"
REST = "<p>" + "Plain words of the page. " * 40 + "</p>"


def page(head: str = "", body: str = REST) -> bytes:
    return f"<!doctype html><html><head><title>t</title>{head}</head><body>{body}</body></html>".encode()


@pytest.mark.parametrize(
    ("url", "code"),
    [
        (BY, "cc-by-4.0"),
        ("http://creativecommons.org/licenses/by-nc-sa/3.0/de/", "cc-by-nc-sa-3.0-de"),
        ("//creativecommons.org/licenses/by-sa/4.0/deed.fr", "cc-by-sa-4.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "cc0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/deed.en", "pdm-1.0"),
        ("https://i.creativecommons.org/l/by-nd/4.0/88x31.png", "cc-by-nd-4.0"),
        ("https://creativecommons.org/about", None),
        ("https://example.org/licenses/by/4.0/", None),
    ],
)
def test_the_address_of_a_licence_is_spelled_as_its_code(url: str, code: str | None) -> None:
    assert licence_code(url) == code


@pytest.mark.parametrize(
    ("html", "licence", "place"),
    [
        (page(f'<link rel="license" href="{BY}">'), "cc-by-4.0", "rel"),
        (page("", f"{REST}<a href='{BY}' class=x rel='nofollow license'>CC</a>"), "cc-by-4.0", "rel"),
        (page(f'<META NAME="DC.rights" CONTENT="{BY}">'), "cc-by-4.0", "meta"),
        (page(f'<script type="application/ld+json">{{"license": "{BY}"}}</script>'), "cc-by-4.0", "json-ld"),
        (
            page(
                '<script>{"license":"https:\\/\\/creativecommons.org\\/licenses\\/by-sa\\/4.0\\/"}</script>'
            ),
            "cc-by-sa-4.0",
            "json-ld",
        ),
        (
            page("", f"{REST}<img src='https://i.creativecommons.org/l/by/3.0/88x31.png'>"),
            "cc-by-3.0",
            "badge",
        ),
        (page("", f"{REST}<footer>Under <a href='{BY}'>CC BY</a></footer>"), "cc-by-4.0", "footer"),
        (page("", f"{REST}<div id='footer'><a href='{BY}'>CC BY</a></div>"), "cc-by-4.0", "footer"),
    ],
)
def test_a_mark_is_found_where_it_stands(html: bytes, licence: str, place: str) -> None:
    assert of_page(html) == {"licence": licence, "licence_place": place}


def test_a_page_about_licences_has_none_and_the_strongest_place_counts() -> None:
    mention = f"<p>Read <a href='{BY}'>the licence</a>, it is short.</p>"
    assert of_page(page("", mention + REST)) == {}
    other = "https://creativecommons.org/licenses/by-nc/4.0/"
    both = page(f'<link href="{other}" rel="license">', f"{REST}<footer><a href='{BY}'>CC</a></footer>")
    assert of_page(both) == {"licence": "cc-by-nc-4.0", "licence_place": "rel"}
    two = page("", f"{REST}<a rel=license href={BY}>a</a><a rel=license href={other}>b</a>")
    assert of_page(two)["licence"] == "cc-by-4.0 cc-by-nc-4.0"
    links = "".join(
        f"<a rel=license href=//creativecommons.org/licenses/by/{version}.0/>v</a>" for version in range(1, 7)
    )
    assert of_page(page("", links))["licence"] == "several"


def test_robots_metas_say_what_is_forbidden_and_to_whom() -> None:
    html = page(
        '<meta name="robots" content="index, follow"><meta content="NoAI, noimageai" name="ROBOTS">'
        '<meta name="CCBot" content="nofollow"><meta name="description" content="no, noindex is a word">'
        '<meta name="msapplication-config" content="none">'
    )
    assert of_page(html) == {"robots": "meta:*:noai meta:*:noimageai meta:ccbot:nofollow"}
    assert of_page(page('<meta name="tdm-reservation" content="1">')) == {"tdm_reservation": "1"}
    assert of_page(page("", '<meta name="robots" content="noai">')) == {}  # no meta of a head


def test_a_header_s_directives_go_by_agent_and_line() -> None:
    head = b"HTTP/1.1 200 OK\nX-Robots-Tag: noai, noimageai\nX-Robots-Tag: GPTBot: noindex, nofollow\n"
    head += b"X-Robots-Tag: unavailable_after: 25 Jun 2030 15:00:00 PST, noml\nTDM-Reservation: 1\n"
    head += f'Link: </style.css>; rel=preload, <{BY}>; rel="license"\n'.encode()
    assert of_head(parse_headers(head)) == {
        "robots": "header:*:noai header:*:noimageai header:*:noml"
        " header:gptbot:nofollow header:gptbot:noindex",
        "tdm_reservation": "1",
        "licence": "cc-by-4.0",
        "licence_place": "rel",
    }


def test_page_and_head_add_up_and_the_page_s_own_reservation_counts() -> None:
    head = {"robots": "header:*:noai", "tdm_reservation": "1", "licence": "cc-by-4.0", "licence_place": "rel"}
    page_says = {"language": "en", "robots": "meta:*:noindex", "tdm_reservation": "0"}
    found = together({**page_says, "licence": "cc0-1.0", "licence_place": "footer"}, head)
    assert found == {**head, "robots": "header:*:noai meta:*:noindex", "tdm_reservation": "0"}
    assert together({"licence": "cc0-1.0", "licence_place": "rel"}, head)["licence"] == "cc0-1.0"


def test_without_the_c_library_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    html = page('<meta name="robots" content="noai">', f"{REST}<footer><a href='{BY}'>CC</a></footer>")
    found = of_page(html)
    monkeypatch.setattr(statements, "_memmem", None)
    assert of_page(html) == found
    assert len(found) == 3


BLANK = st.sampled_from(["", " ", "\n", "\t ", "/", " / "])
NAME = st.sampled_from(
    ["name", "NAME", "content", "Content", "property", "x-name", "title", "=name", "contents"]
)
WORDS = ("robots", "ROBOTS", "ccbot", "tdm-reservation", "noai", "NoIndex, noml", "index", "none", "1")
VALUE = st.sampled_from((*WORDS, "a > b noai", "x/", "noai/", "it's", " robots ", ""))
QUOTE = st.sampled_from(["", '"', "'"])


@st.composite
def attribute(draw: st.DrawFn) -> str:
    quote = draw(QUOTE)
    sign = draw(st.sampled_from(["=", " = ", "=", "=\n", ""]))
    value = f"{quote}{draw(VALUE)}{draw(st.sampled_from([quote] * 9 + ['']))}" if sign else ""
    return draw(BLANK) + draw(NAME) + sign + value


META = st.builds(
    lambda tag, parts, blank, end: f"<{tag}{''.join(parts)}{blank}{end}",
    st.sampled_from(["meta ", "META ", "meta/", "meta", "metadata ", "/meta "]),
    st.lists(attribute(), min_size=1, max_size=4),
    BLANK,
    st.sampled_from([">"] * 9 + [""]),
)
USUAL = st.sampled_from(['<meta name="robots" content="noai">', "<meta content=noimageai name=robots>"])
AROUND = st.sampled_from(
    (
        *(
            "{}",
            "{}",
            "<!--{}-->",
            "<!-->{}",
            "<!--{}",
            "<!--->{}-->",
            "<!--{}--!>",
            "<!x {}>",
            "<?{}>",
            "</{}>",
        ),
        *("<script>a < b; '{}'</script>", "<script>{}", "<style>{}</style >", "<title>{}</TITLE>"),
        *('<link title="{}">', "<link title='{}'>", "<base href=x>{}", "\n{}"),
        *("<template>{}</template>", "<noscript>{}</noscript>"),
    )
)
PIECE = st.builds(str.replace, AROUND, st.just("{}"), st.one_of(META, USUAL))


def plainly(html: str) -> bytes:
    """The page with nothing but the metas that HTML's own parser finds, in plain spelling."""
    metas = []
    for meta in HTMLTree.parse(html).document.get_elements_by_tag_name("meta"):
        if meta.hasattr("content") and (name := meta.getattr("name") or meta.getattr("property")):
            metas.append(f'<meta name="{name}" content="{meta.getattr("content")}">')
    return page("".join(metas))


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECE, min_size=1, max_size=4), st.booleans())
@example(["<meta name=robots content=noai"], False)
@example(["<meta name=robots content='noai'", "<meta name=ccbot content=noml>"], False)
@example(["<meta name=robots name=x content=noai>"], True)
@example(["<meta title='>' name=robots content=noai>"], True)
def test_metas_of_odd_spelling_are_those_that_an_html_parser_finds(pieces: list[str], ends: bool) -> None:
    html = "<!doctype html><html><head>" + "".join(pieces) + ("</head><body></body></html>" if ends else "")
    assert of_page(html.encode()) == of_page(plainly(html))
