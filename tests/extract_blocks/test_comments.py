"""Readers' comments under an article go where they are not asked for; threads keep their posts."""

from __future__ import annotations

import pytest

from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.extracted import Form
from gristmill.pipeline.extract.extractors import load_extractor
from gristmill.pipeline.extract.frames import Page
from gristmill.pipeline.extract.settings import ExtractSettings

ARTICLE = (
    "The mill stood at the end of the valley, where the river, swollen by the rains, ran fast enough.",
    "Nobody in the village could remember who had built it, although the miller claimed to know it.",
    "When the wheel stopped one morning in March, the whole village came out to see what it was.",
)
COMMENTS = (
    "I have been to that mill as a child, and I can tell you that the wheel was never as large as that.",
    "My grandfather worked there for thirty years, and he would have loved to read this story again.",
    "Could you write about the other mill too, the one by the bridge, which burned down in the war?",
)
WITHOUT = BlocksSettings(comments=False, metadata=False)
WITH = BlocksSettings(metadata=False)


def page(section: str, body: str = "") -> str:
    text = "".join(f"<p>{line}</p>" for line in ARTICLE * 2)
    return (
        f"<html><head><title>The mill</title></head><body{body}><div class='post'>"
        f"<h1>The mill</h1>{text}</div>"
        f"{section}</body></html>"
    )


def section(attributes: str, item: str = "") -> str:
    return f"<div {attributes}>" + "".join(f"<div{item}><p>{one}</p></div>" for one in COMMENTS) + "</div>"


@pytest.mark.parametrize(
    "attributes",
    [
        'id="comments"',
        'class="comment-list"',
        'id="disqus_thread"',
        'class="kommentare"',
        'class="post-comments wide"',
    ],
)
def test_comments_under_an_article_go_where_they_are_not_asked_for(attributes: str) -> None:
    html = page(section(attributes))
    text = extract(html, settings=WITHOUT).text
    assert all(line in text for line in ARTICLE)
    assert not any(line in text for line in COMMENTS)
    assert any(line in extract(html, settings=WITH).text for line in COMMENTS)


def test_a_name_on_the_whole_page_or_its_article_is_no_section_of_comments() -> None:
    html = page("", ' class="single comments-open"').replace(
        "<div class='post'>", "<article class='comments'>"
    )
    assert all(line in extract(html, settings=WITHOUT).text for line in ARTICLE)


def test_a_thread_keeps_its_posts() -> None:
    html = page(section('class="comments forum"', ' class="comment topic"'))
    assert extract(html, settings=WITHOUT).text == extract(html, settings=WITH).text
    assert any(line in extract(html, settings=WITH).text for line in COMMENTS)


@pytest.mark.parametrize(
    "heading", ["<a id='comments'></a><h2>Comments</h2>", "<h3 id='comments'>Three replies</h3>"]
)
def test_what_follows_a_heading_named_comments_are_comments(heading: str) -> None:
    html = page("").replace(
        "</div></body>", heading + "".join(f"<p>{one}</p>" for one in COMMENTS) + "</div></body>"
    )
    text = extract(html, settings=WITHOUT).text
    assert all(line in text for line in ARTICLE)
    assert not any(line in text for line in COMMENTS)
    assert any(line in extract(html, settings=WITH).text for line in COMMENTS)


@pytest.mark.parametrize("item", ["comment thread-even", "comment thread"])
def test_comments_that_are_called_threads_are_comments(item: str) -> None:
    html = page(section('id="disqus_thread"', f' class="{item}"'), ' class="blog-posts posts"')
    assert not any(line in extract(html, settings=WITHOUT).text for line in COMMENTS)


def test_how_to_respond_goes_with_the_comments() -> None:
    invitation = "You can follow any responses to this entry through the feed, or leave one of your own here."
    html = page(f'<p class="postmetadata alt"><small>{invitation}</small></p>')
    assert invitation not in extract(html, settings=WITHOUT).text


def test_a_page_of_comments_alone_keeps_them() -> None:
    html = f"<html><body>{section('id=comments')}</body></html>".replace("</div></div>", "</div>" * 2)
    assert extract(html, settings=WITHOUT).text == extract(html, settings=WITH).text != ""


@pytest.mark.parametrize("name", ["blocks", "auto"])
def test_extractors_by_name_take_the_option(name: str) -> None:
    html = page(section('id="comments"'))
    text = load_extractor(name, form=Form(comments=False))(html, None).text
    assert ARTICLE[0] in text and not any(line in text for line in COMMENTS)


def test_a_recipe_hands_the_option_on_to_the_extractors_process() -> None:
    from gristmill.pipeline.extract.child import Child

    html = page(section('id="comments"')).encode()
    with Child(ExtractSettings(extractor="blocks", comments=False)) as child:
        (found,) = child.extract([Page("https://example.org/", "text/html", "utf-8", "", html)])
    assert COMMENTS[0] not in str(found) and ARTICLE[0] in str(found)
