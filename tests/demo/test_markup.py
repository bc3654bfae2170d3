"""Docstrings and descriptions become blocks that read well as HTML and as plain text."""

from gristmill.pipeline.demo.markup import parse, plain, to_html, to_text


def test_hard_line_ends_are_joined_and_blank_lines_part_paragraphs() -> None:
    assert (
        to_text(parse("One line\nand another.\n\nA second paragraph."))
        == "One line and another.\n\nA second paragraph."
    )


def test_an_underlined_line_and_a_hash_are_headings() -> None:
    blocks = parse("Usage\n-----\nCall it.\n\n## Notes\nNone.")
    assert [(block.kind, block.text) for block in blocks] == [
        ("heading", "Usage"), ("paragraph", "Call it."), ("heading", "Notes"), ("paragraph", "None."),
    ]  # fmt: skip


def test_parameters_are_terms_of_a_definition_list() -> None:
    html = to_html(parse("Parameters\n----------\nx : float\n    The number.\ny : int\n    Another."))
    assert html.count("<dt>") == 2
    assert "<dl>" in html and "</dl>" in html
    assert "<dt><code>x : float</code></dt><dd><p>The number.</p></dd>" in html


def test_prompts_and_fences_are_code_and_keep_their_lines() -> None:
    blocks = parse(">>> 1 < 2\n>>> 3\n\n```python\na = 1\n\nb = 2\n```")
    assert [block.kind for block in blocks] == ["code", "code"]
    assert blocks[1].text == "a = 1\n\nb = 2"
    assert "1 &lt; 2" in to_html(blocks)


def test_items_are_one_list() -> None:
    html = to_html(parse("Intro:\n\n- one\n  goes on\n- two"))
    assert "<ul>\n<li>one goes on</li>\n<li>two</li>\n</ul>" in html


def test_roles_links_and_badges_lose_their_markup() -> None:
    assert (
        plain("See :func:`~os.path.join`, `here <http://x.example>`_ and [there](http://y.example) ![b](c).")
        == "See os.path.join, here and there ."
    )


def test_an_unclosed_fence_loses_nothing() -> None:
    assert "b = 2" in to_text(parse("```\nb = 2"))
