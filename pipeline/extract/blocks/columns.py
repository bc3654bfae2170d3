"""The columns of the feature matrix: their numbers for the kernels, their names for the model."""

from __future__ import annotations

from gristmill.pipeline.extract.blocks import tags as T

# What a block says by itself, and its place along the page.
(
    WORDS, CHARS, LINK_WORDS_FRACTION, LINK_CHARS_FRACTION, CHARS_PER_WORD, UPPER_FRACTION, DIGIT_FRACTION,
    PUNCTUATION_FRACTION, COMMAS_PER_WORD, ENDS_PER_WORD, WIDE_FRACTION, BOLD_FRACTION, BREAKS, IMAGES,
    INPUTS, LINKS,
    ENDS_SENTENCE, TEXT_DENSITY, GAP_BYTES, TAG, DEPTH, DEPTH_FROM_MEDIAN, HEADING_LEVEL, POSITION,
    WORDS_BEFORE,
    SOURCE_POSITION, NUM_BEFORE, NUM_AFTER, SAME_ELEMENT_AS_PREVIOUS, SAME_PARENT_AS_PREVIOUS,
    SAME_ELEMENT_AS_NEXT,
    COPIES, IS_COPY, TITLE_OVERLAP, FROM_TITLE, SINCE_HEADING, TO_HEADING, SINCE_PROSE, TO_PROSE, PROSE_NEAR,
    WORDS_ODDS_SUM, WORDS_ODDS_MEAN, WORDS_ODDS_MIN, WORDS_ODDS_MAX, NAMES_OWN, NAMES_PARENT, NAMES_SUM,
    NAMES_DECAYED,
    NAMES_MIN, NAMES_MAX, NAMES_INLINE,
) = range(51)  # fmt: skip

# The context bits of a block, one column each from FIRST_CONTEXT on.
CONTEXTS = (
    T.ARTICLE, T.MAIN, T.NAV, T.FOOTER, T.HEADER, T.ASIDE, T.FORM, T.LIST, T.TABLE, T.HEADING, T.PRE, T.QUOTE,
    T.FIGURE,
    T.BUTTON, T.HIDDEN, T.SECTION, T.DEFINITION, T.CAPTION, T.PARAGRAPH, T.ARTICLE_BODY,
)  # fmt: skip
_CONTEXT_NAMES = (
    "in_article", "in_main", "in_nav", "in_footer", "in_header", "in_aside", "in_form", "in_list", "in_table",
    "in_heading", "in_pre", "in_quote", "in_figure", "in_button", "in_hidden", "in_section", "in_definition",
    "in_caption",
    "in_paragraph", "in_article_body",
)  # fmt: skip

# The elements that hold a block, the best subtree, and the blocks that look like it: columns from
# FIRST_AROUND on.
(
    ELEMENT_WORDS, ELEMENT_LINK_FRACTION, ELEMENT_SHARE, PARENT_WORDS, PARENT_LINK_FRACTION, PARENT_SHARE,
    GRANDPARENT_WORDS, GRANDPARENT_LINK_FRACTION, GRANDPARENT_SHARE, CONTAINER_SHARE, CONTAINER_LINK_FRACTION,
    HALF_GAP,
    IN_BEST, GAP_TO_BEST, GAP_OF_BEST, BEST_SHARE, BEST_LINK_FRACTION, BEFORE_BEST, AFTER_BEST, ALIKE_COUNT,
    ALIKE_WORDS,
    ALIKE_LINK_FRACTION, ALIKE_SHARE, SIBLINGS_ALIKE, CHILD_BLOCKS,
) = range(25)  # fmt: skip

# The page: columns from FIRST_PAGE on.
(
    PAGE_WORDS, PAGE_BLOCKS, PAGE_LINK_FRACTION, PAGE_PROSE_SHARE, PAGE_NUM_PROSE, PAGE_NUM_H1,
    PAGE_NUM_ARTICLES,
    PAGE_HAS_MAIN, PAGE_WIDE_FRACTION, PAGE_SOURCE_BYTES,
) = range(10)  # fmt: skip

# Columns copied from the blocks before and after, from FIRST_BESIDE on: for each neighbour these, in this
# order.
NEIGHBOURS = (-3, -2, -1, 1, 2, 3)
BESIDE = (WORDS, LINK_WORDS_FRACTION, NAMES_DECAYED, WORDS_ODDS_MEAN, TAG)

FIRST_CONTEXT = 51
FIRST_AROUND = FIRST_CONTEXT + len(CONTEXTS)
FIRST_PAGE = FIRST_AROUND + 25
FIRST_BESIDE = FIRST_PAGE + 10


def _names(first: str, last: str) -> tuple[str, ...]:
    """List this module's constants from one to another as column names."""
    constants = list(globals())
    return tuple(name.lower() for name in constants[constants.index(first) : constants.index(last) + 1])


_OWN = _names("WORDS", "NAMES_INLINE")
FEATURES: tuple[str, ...] = (
    *_OWN,
    *_CONTEXT_NAMES,
    *_names("ELEMENT_WORDS", "CHILD_BLOCKS"),
    *_names("PAGE_WORDS", "PAGE_SOURCE_BYTES"),
    *(f"{_OWN[column]}[{offset:+d}]" for offset in NEIGHBOURS for column in BESIDE),
)
NUM_FEATURES = len(FEATURES)
