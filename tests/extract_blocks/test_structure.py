"""Formulas, code and tables come out as they were written, whatever drew them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gristmill.pipeline.extract.blocks.extract import extract
from gristmill.pipeline.extract.blocks.settings import BlocksSettings
from gristmill.pipeline.extract.blocks.structure import asciimath, data_tables, listings
from gristmill.pipeline.extract.blocks.structure.delimiters import Delimiters, mark
from gristmill.pipeline.extract.blocks.structure.formulas import read, read_node
from gristmill.pipeline.extract.blocks.structure.fragment import Bounds, parse
from gristmill.pipeline.extract.blocks.structure.mathml import to_tex

PROSE = (
    "The mill stood at the end of the valley, where the river, swollen by the rains, ran fast enough.",
    "Nobody in the village could remember who had built it, although the miller claimed to know it.",
    "When the wheel stopped one morning in March, the whole village came out to see what it was.",
)
MARKDOWN = BlocksSettings(format="markdown", metadata=False)


def page(inside: str, head: str = "") -> str:
    lines = "".join(f"<p>{line}</p>" for line in PROSE)
    return (
        f"<html><head><title>The mill</title>{head}</head><body><article><h1>The mill</h1>{lines}{inside}"
        f"{lines}<p>{PROSE[0][::-1]}</p></article></body></html>"
    )


KATEX = (
    '<span class="katex"><span class="katex-mathml"><math><semantics><mrow><mi>E</mi></mrow><annotation'
    ' encoding="application/x-tex">E=mc^2</annotation></semantics></math></span><span class="katex-html"'
    ' aria-hidden="true"><span>E=mc2</span></span></span>'
)
MATHJAX_2 = (
    '<span class="MathJax_Preview">E=mc2</span><span class="MathJax" id="MathJax-Element-1-Frame"><nobr'
    ' aria-hidden="true"><span>E</span><span>=mc2</span></nobr><span class="MJX_Assistive_MathML"><math>'
    '<mi>E</mi></math></span></span><script type="math/tex" id="MathJax-Element-1">E=mc^2</script>'
)
MATHJAX_3 = (
    '<mjx-container jax="CHTML"><mjx-math aria-hidden="true"><mjx-mi></mjx-mi></mjx-math>'
    "<mjx-assistive-mml><math><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup></math>"
    "</mjx-assistive-mml></mjx-container>"
)
WIKIMEDIA = (
    '<span class="mwe-math-element"><span style="display: none;"><math alttext="{\\displaystyle E=mc^{2}}">'
    "<mi>E</mi></math></span><img src='https://wikimedia.org/api/rest_v1/media/math/render/svg/9f'"
    ' alt="{\\displaystyle E=mc^{2}}"></span>'
)


@pytest.mark.parametrize(
    ("markup", "formula"),
    [
        (KATEX, "$E=mc^2$"),
        (f'<span class="katex-display">{KATEX}</span>', "$$E=mc^2$$"),
        (MATHJAX_2, "$E=mc^2$"),
        (MATHJAX_3, "$E=m{c}^{2}$"),
        (WIKIMEDIA, "${\\displaystyle E=mc^{2}}$"),
        ('<script type="math/tex; mode=display">E=mc^2</script>', "$$E=mc^2$$"),
        ('<span class="ztext-math" data-tex="E=mc^2">E=mc2</span>', "$E=mc^2$"),
        ('<span class="ql-formula" data-value="E=mc^2"><span>E=mc2</span></span>', "$E=mc^2$"),
        ('<img class="latex" src="https://s0.wp.com/latex.php?latex=E%3Dmc%5E2" alt="E=mc^2">', "$E=mc^2$"),
        ('<img src="https://latex.codecogs.com/gif.latex?\\dpi{150}&space;E=mc^2">', "$E=mc^2$"),
        ('<img src="//www.zhihu.com/equation?tex=E%3Dmc%5E2" alt="[formula]">', "$E=mc^2$"),
        ('<m:math xmlns:m="x" display="block"><m:mi>E</m:mi></m:math>', "$$E$$"),
    ],
)
@pytest.mark.parametrize("form", ["text", "markdown"])
def test_a_formula_comes_once_as_tex(markup: str, formula: str, form: str) -> None:
    html = page(f"<p>As the old miller knew, energy is {markup} and no more than that, he said.</p>")
    text = extract(html, settings=BlocksSettings(format=form, metadata=False)).text  # type: ignore[arg-type]
    assert f"energy is {formula} and no more" in text
    assert "mc2" not in text and text.count("mc^2") + text.count("mc^{2}") <= 1


def test_an_image_that_is_no_formula_leaves_nothing() -> None:
    html = page(
        '<p>A texture of the wheel <img src="/math/texture.jpg" alt="wheel"> hung there, and it was old.</p>'
    )
    assert "A texture of the wheel hung there" in extract(html).text


@pytest.mark.parametrize(
    ("mathml", "tex"),
    [
        ("<mi>x</mi><mo>&#x2260;</mo><mn>0</mn>", "x\\ne 0"),
        ("<mfrac><mi>a</mi><msqrt><mi>b</mi></msqrt></mfrac>", "\\frac{a}{\\sqrt{b}}"),
        ("<mo>(</mo><mi>x</mi><msup><mo>)</mo><mn>2</mn></msup>", "{\\left(x\\right)}^{2}"),
        (
            "<munderover><mo>∑</mo><mrow><mi>k</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover>",
            "\\sum _{k=1}^{n}",
        ),
        (
            "<mtable columnalign='right left'><mtr><mtd><mi>a</mi></mtd><mtd><mi>b</mi></mtd></mtr></mtable>",
            "\\begin{array}{rl}a& b\\end{array}",
        ),
        (
            "<mi mathvariant='bold'>V</mi><mi>sin</mi><mtext>for&#xA0;</mtext>",
            "\\mathbf{V}\\mathrm{sin}\\text{for }",
        ),
        ("<mover accent='true'><mi>x</mi><mo>˙</mo></mover>", "\\dot{x}"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot><mspace width='1em'/><mi>y</mi>", "\\sqrt[3]{x}y"),
        (
            "<mmultiscripts><mi>X</mi><mn>1</mn><none/><mprescripts/><none/><mn>2</mn></mmultiscripts>",
            "{}^{2}{X}_{1}",
        ),
    ],
)
def test_mathml_becomes_tex(mathml: str, tex: str) -> None:
    math = parse(f"<math>{mathml}</math>").first("math")
    assert math is not None and to_tex(math) == tex


@pytest.mark.parametrize(
    ("source", "tex"),
    [
        ("x^2", "x^{2}"),
        ("a/b", "\\frac{a}{b}"),
        ("sqrt(2)", "\\sqrt{2}"),
        ("sum_(i=1)^n i", "\\sum_{i = 1}^{n} i"),
        ("(", "\\left(\\right."),
    ],
)
def test_asciimath_becomes_tex(source: str, tex: str) -> None:
    assert asciimath.to_tex(source) == tex


MATHJAX = b"<script src=MathJax.js></script>"
DOLLARS = MATHJAX + b"<script>MathJax={tex:{inlineMath:[['$','$'],['\\\\(','\\\\)']]}}</script>"


@pytest.mark.parametrize(
    ("loaded", "text", "marked"),
    [
        (MATHJAX, "if \\(a_1\\) holds", "if $a_1$ holds"),
        (MATHJAX, "then \\[ a\n= b \\] so", "then $$a = b$$ so"),
        (b"", "a regular \\(group\\) of letters", "a regular \\(group\\) of letters"),
        (b"", "raw \\(x^2\\) with no script", "raw $x^2$ with no script"),
        (b"", "it costs $5 or $ 10", "it costs $5 or $ 10"),
        (DOLLARS, "so $ a \\\\ b $ is", "so $a \\\\ b$ is"),
        (MATHJAX, "so $ a \\\\ b $ is", "so $ a \\\\ b $ is"),
        (b"<script src='MathJax.js?config=AM_CHTML'>", "so `x^2` is", "so $x^{2}$ is"),
    ],
)
def test_the_page_says_how_it_marks_formulas(loaded: bytes, text: str, marked: str) -> None:
    assert mark(loaded, text) == marked


def test_the_delimiters_of_katex_are_read() -> None:
    loaded = (
        b'katex renderMathInElement(document.body, {delimiters: [{left: "@@", right: "@@", display: true}]})'
    )
    assert Delimiters(loaded).mark("a @@x@@") == "a $$x$$"


TURN = "def turn(wheel):\n    if wheel:\n\n        return wheel + 1"
LINES = [line.replace("    ", "&nbsp;&nbsp;&nbsp;&nbsp;") for line in TURN.split("\n")]
ROWS = "".join(f'<tr><td class="blob-num" data-line-number="{k}"></td><td class="blob-code">{line}</td></tr>'
    for k, line in enumerate(LINES, 1))  # fmt: skip


PLAIN = TURN.split("\n")
SHIKI = "".join(f"<span class=line>{line}</span>\n" for line in PLAIN)
NUMBERED = "".join(f"<span class=lineno>{k} </span>{line}\n" for k, line in enumerate(PLAIN, 1))
ITEMS = "".join(f"<li>{line}<br></li>" for line in LINES)
NUMBERS = "".join(f"<div class=line>{k}</div>" for k in range(1, 5))
CODE_LINES = "".join(f"<div class=line><code>{line}</code></div>" for line in LINES)
CM_LINES = "".join(f"<div class=cm-line>{line}<br></div>" for line in PLAIN)


@pytest.mark.parametrize(
    "markup",
    [
        f"<pre><code>{TURN}</code></pre>",
        "<pre>" + "<br>".join(PLAIN) + "</pre>",
        f'<pre class="shiki"><code>{SHIKI}</code></pre>',
        '<div class="highlight"><table><tr><td class="gutter"><pre>1\n2\n3\n4</pre></td><td class="code">'
        f"<pre>{TURN}</pre></td></tr></table></div>",
        f'<div class="highlight"><table class="js-file-line-container">{ROWS}</table></div>',
        f'<div class="blockcode"><ol>{ITEMS}</ol><em onclick="copycode()">Copy</em></div>',
        f'<div class="syntaxhighlighter python"><table><tr><td class="gutter">{NUMBERS}</td><td class="code">'
        f'<div class="container">{CODE_LINES}</div></td></tr></table></div>',
        f'<div class="fmt"><div class="codeBlock">{CODE_LINES}</div></div>',
        f'<pre class="sp-cm"><code>{CM_LINES}</code></pre>',
        f'<textarea class="crayon-plain" readonly>{TURN}</textarea>',
        f"<code class=bbcode_code>{'<br>'.join(LINES)}</code>",
        '<div class="code panel"><div class="codeContent"><pre class="syntaxhighlighter-pre">'
        f"{TURN}</pre></div></div>",
        f"<pre>{NUMBERED}</pre>",
    ],
)
@pytest.mark.parametrize("form", ["text", "markdown"])
def test_code_is_verbatim_whatever_built_it(markup: str, form: str) -> None:
    settings = BlocksSettings(format=form, metadata=False)  # type: ignore[arg-type]
    text = extract(
        page(f"{markup}<p>That was the code of it, and the miller was content with what he saw.</p>"),
        settings=settings,
    ).text
    assert TURN in text and "Copy" not in text and "\n1\n" not in text
    assert (f"```\n{TURN}\n```" in text.replace("```python", "```")) == (form == "markdown")


@pytest.mark.parametrize(
    ("markup", "language"),
    [
        ('<pre><code class="language-js">a = 1</code></pre>', "js"),
        ('<pre class="brush: java; gutter: false">a = 1</pre>', "java"),
        ('<pre data-lang="go">a = 1</pre>', "go"),
        ('<pre class="hljs python">a = 1</pre>', "python"),
        ('<pre class="code-block">a = 1</pre>', ""),
    ],
)
def test_a_listing_names_the_language_the_page_names(markup: str, language: str) -> None:
    found = listings.find(markup)
    assert found is not None and found.language == language


def test_an_element_around_code_may_name_its_language() -> None:
    found = listings.find("<pre>a = 1</pre>", '<div class="highlight-source-ruby"><div class="highlight">')
    assert found is not None and found.language == "ruby"


@pytest.mark.parametrize(
    "markup",
    [
        '<div class="highlight">Our promise to you is a better life in the valley.</div>',
        '<div class="promo-code">SAVE10</div>',
        '<div class="code"><h2>Code of conduct</h2><p>Be kind.</p><p>Be honest.</p></div>',
        "<table><tr><td>1</td><td>Gold</td></tr><tr><td>2</td><td>Silver</td></tr></table>",
    ],
)
def test_what_only_goes_by_a_name_of_code_is_no_code(markup: str) -> None:
    assert listings.find(markup) is None


def test_inline_code_stands_in_backticks_in_markdown_alone() -> None:
    html = page("<p>Call <code>turn()</code> first, and then look at what the wheel does in the evening.</p>")
    assert "Call `turn()` first" in extract(html, settings=MARKDOWN).text
    assert "Call turn() first" in extract(html).text


def test_spans_of_a_table_are_filled_in_and_pipes_escaped() -> None:
    table = data_tables.find(
        "<table><caption>Wheels</caption><tr><th>a<th>b<th>c<tr><td rowspan=2>1<td>2|3<td>x<br>y"
        "<tr><td colspan=2>4</table>"
    )
    assert table is not None and table.caption == "Wheels" and table.has_head
    assert table.rows == [["a", "b", "c"], ["1", "2|3", "x y"], ["1", "4", "4"]]
    html = page(
        "<table><tr><th>Wheel</th><th>Turns</th></tr><tr><td>left</td><td>1|2</td></tr>"
        "<tr><td>right</td><td>$x$</td></tr></table>"
    )
    assert (
        "| Wheel | Turns |\n| --- | --- |\n| left | 1\\|2 |\n| right | $x$ |"
        in extract(html, settings=MARKDOWN).text
    )


@pytest.mark.parametrize(
    "markup",
    [
        "<table><tr><td><h2>News</h2><p>one</p></td><td>side</td></tr></table>",
        "<table role=presentation><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table>",
        "<table><tr><td>one cell lays out</td></tr></table>",
        "<table><tr><td><math><mi>x</mi></math></td><td>(1)</td></tr></table>",
        "<table><tr><td>m</td><td><pre>a\nb</pre></td></tr><tr><td>n</td><td>c</td></tr></table>",
    ],
)
def test_a_table_that_lays_out_is_none(markup: str) -> None:
    assert data_tables.find(markup) is None


def test_links_emphasis_and_images_come_when_asked_for() -> None:
    html = page(
        '<p>The <b>old</b> mill, by <a href="/river">the <i>river</i></a> with its'
        ' <img src=w.png alt="wheel"> stood there, still.</p>'
    )
    assert "The old mill, by the river with its stood there" in extract(html, settings=MARKDOWN).text
    rich = BlocksSettings(format="markdown", links=True, emphasis=True, images=True, metadata=False)
    assert (
        "The **old** mill, by [the *river*](/river) with its ![wheel] stood there"
        in extract(html, settings=rich).text
    )


@pytest.mark.parametrize(
    ("html", "wanted"),
    [
        (f"<title>d</title><xmp># The mill\n\n{PROSE[0]}\n\n{PROSE[1]}</xmp>", f"{PROSE[0]}\n\n{PROSE[1]}"),
        (
            '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/>'
            '<script src="a.js"/>'
            f"<style/></head><body><p>{PROSE[0]}</p><p>{PROSE[1]}</p><p>{PROSE[2]}</p></body></html>",
            PROSE[1],
        ),
        (f'<body><script src="a.js"/><p>{PROSE[0]}</p><p>{PROSE[1]}</p><p>{PROSE[2]}</p>', PROSE[1]),
        (page("</br>".join(PROSE[k % 3][: 60 + k] for k in range(4))), PROSE[1][:61] + "\n"),
    ],
)
def test_nothing_is_lost_whole(html: str, wanted: str) -> None:
    assert wanted in extract(html).text


@pytest.mark.parametrize(
    "source", ["<", "<math", "<a href='", "<!--", "</", "<td><td <", "<pre><![CDATA[", "&#x"]
)
def test_a_fragment_that_is_cut_off_is_read_as_far_as_it_goes(source: str) -> None:
    parse(source)
    read(source)
    listings.find(source)
    data_tables.find("<table>" + source)


ARTICLE = json.dumps({"@type": "NewsArticle", "headline": "The mill", "articleBody": "\n\n".join(PROSE)})
STATE = json.dumps(
    {"props": {"page": {"menu": ["Home", "News"], "body": [f"<p>{line}</p>" for line in PROSE]}}}
)


@pytest.mark.parametrize(
    ("script", "where"),
    [
        (f'<script type="application/ld+json">{ARTICLE}</script>', "json-ld"),
        (f'<script id="__NEXT_DATA__" type="application/json">{STATE}</script>', "state"),
    ],
)
def test_an_article_that_lies_only_in_the_pages_data_is_taken_from_there(script: str, where: str) -> None:
    found = extract(f"<html><body><div id=app></div>{script}</body></html>")
    assert (found.text, found.taken_from) == ("\n".join(PROSE), where)
    own = extract(page(script))
    assert own.taken_from == "page" and own.text.startswith(f"The mill\n{PROSE[0]}")


@pytest.mark.parametrize(
    ("inside", "cap"),
    [
        ("<table><tr><th>a<th>b" + '<tr><td rowspan="99" colspan="99">x<td>y' * 99 + "</table>", "grid"),
        ("<table><tr><td>a<td>b<tr><td>" + "<i>x</i>" * 9000 + "</table>", "fragments"),
        ("<table><tr><td>a<td>b<tr><td>c<td>" + "<b>" * 400 + "d</table>", "nesting"),
        ("<p>" + "<code>a " * 40 + "</code>" * 40, "nesting"),
    ],
)
def test_a_bound_of_a_fragment_that_is_met_is_a_cap_of_the_page(inside: str, cap: str) -> None:
    assert cap in extract(page(inside), settings=MARKDOWN).caps


def test_quotes_that_swallow_the_ends_of_tags_are_balanced_up_to_a_bound() -> None:
    bounds = Bounds()
    parse('<b ">"' * 2000, bounds)
    assert "quotes" in bounds.met


def test_a_page_within_the_bounds_of_fragments_meets_no_cap() -> None:
    inside = "<table><tr><th>a<th>b<tr><td>1<td>2</table><pre>a = <b>1</b></pre>" + KATEX + MATHJAX_3
    assert extract(page(inside), settings=MARKDOWN).caps == ()


@pytest.mark.parametrize(
    "markup",
    [
        '<pre><span class="k">def</span> f():\n    <span class="k">return</span> 1 &lt; 2\n</pre>',
        '<PRE class="x"><code>a\r\nb\r<b>c</b>&nbsp;d &amp;lt; &quot;</code></pre>',
        '<pre><span class="line">a</span><span class="line">b</span></pre>',
        '<pre><span class="lineno">1</span>a\n<span class="lineno">2</span>b</pre>',
        "<pre>a<br>b<!-- c -->d</pre>",
        "<pre>a &lt<i>;</i> b<i>&no</i>t</pre>",
        '<pre>a<span title="x>y">b</span></pre>',
        "<pre>a <x b <i>c</i></pre>",
        "<pre>a\r<br>b<br/>\r\nc<hr><h3 class=x>d<wbr>e</h3><img src=x alt='f'></pre>",
        '<pre>a</br>b<br class="copy">c<h2 class="copy">d</h2>e</pre>',
    ],
)
def test_coloured_code_reads_without_a_tree_as_with_one(markup: str) -> None:
    quick = listings.highlighted(markup)
    by_tree = listings.find(markup)
    assert by_tree is not None
    assert quick is None or quick == by_tree.text


PRE_PIECES = (
    "<br>", "<br />", "<hr>", "<img src=a>", "<wbr>", "<h2>", "</h2>", "<h3 class=copy>", "</h3>", "<b>",
    "</b>", "<span class=lineno>", "<span class=x>", "</span>", "<code>", "</code>", "a", " b ", "1", "\n",
    "\r", "\r\n", "&lt;", "&nbsp;", "&amp;", "<p>", "</br>",
)  # fmt: skip


@given(st.lists(st.sampled_from(PRE_PIECES), max_size=14))
def test_any_coloured_code_reads_without_a_tree_as_with_one(pieces: list[str]) -> None:
    markup = f"<pre>{''.join(pieces)}</pre>"
    by_tree = listings.find(markup)
    assert listings.highlighted(markup) in (None, by_tree.text if by_tree is not None else "")


IMAGE_PIECES = (
    "src='/a.png'", 'src="//latex.codecogs.com/gif.latex?x%5E2"', 'src="/cgi-bin/mimetex.cgi?x^2"',
    'alt="x^2"', 'alt="\\frac{a}{b}"', 'alt="&#92;frac{a}{b}"', 'alt="&bsol;frac{a}{b}"', 'class="big tex"',
    "class=Formula", 'src="/math/render/svg/1"', 'src="/equation?a=1&amp;tex=x_1"',
    'src="/equation?tex=x_1"', 'title="texture"', 'src="//www.zhihu.com/equation?tex=E%3Dmc"',
    'data-src="&#104;ttps://math.now.sh?from=x"', 'alt="context"',
)  # fmt: skip


@given(st.lists(st.sampled_from(IMAGE_PIECES), max_size=4), st.sampled_from(["img", "IMG"]))
def test_an_image_is_a_formula_or_none_whether_its_tag_is_read_or_only_looked_at(
    attributes: list[str], name: str
) -> None:
    markup = f"<{name} {' '.join(attributes)}>"
    with parse(markup) as root:
        node = next(root.nodes())
        assert read(markup) == read_node(node)
