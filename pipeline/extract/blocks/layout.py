"""The arrays one page is tokenized into, by column: blocks of text, elements, marks, and the tokenizer's own
state.

All are int32 or int64 and allocated by `tokenizer.tokenize`; offsets count bytes of UTF-8.
"""

from __future__ import annotations

MAX_DEPTH = 398
MAX_ELEMENTS = 60_000
MAX_BLOCKS = 30_000
MAX_MARKS = 128
MAX_BLOCK_WORDS = 24  # words of a block that are hashed for features
MAX_ELEMENT_TOKENS = 32
CAPS = ("depth", "elements", "blocks", "text")  # bit by bit in state[CAP]

# Columns of a block.
(
    START, END, ELEMENT, WORDS, LINK_WORDS, LINKS, CHARS, LINK_CHARS, BOLD_CHARS, UPPER, DIGITS, PUNCTUATION,
    COMMAS, ENDS, WIDE,
    BREAKS, IMAGES, INPUTS, SOURCE_START, SOURCE_END, HASH, WORD_START, WORD_END, TOKEN_START, TOKEN_END,
    FLAGS, LAST_CHAR, BUTTONS,
) = range(28)  # fmt: skip
NUM_BLOCK_COLUMNS = 28

# Columns of an element.
PARENT, TAG, CONTEXT, DEPTH, NAME_HASH, TOKENS_START, TOKENS_END, CELL, SIGNATURE = range(9)
NUM_ELEMENT_COLUMNS = 9

# The tokenizer's state.
(
    OUT, NUM_BLOCKS, NUM_ELEMENTS, STACK, OVERFLOW, NUM_TOKENS, NUM_WORDS, NUM_MARKS, PENDING, BREAK, LINK,
    LINK_STACK, BOLD,
    BOLD_STACK,
    IN_WORD, WORD_HASH, LINK_CLOSED, CAP, DONE, CURRENT, UNENDED, NO_COMMENT_END, NUMERIC, COUNTS,
) = range(24)  # fmt: skip
NUM_STATE = COUNTS + 8  # the last one is an array: characters by kind, of the run being written

# What a mark points at (columns: kind, start, end of the value in the page's bytes).
(
    MARK_TITLE, MARK_JSON_LD, MARK_TIME, MARK_CANONICAL, MARK_LANGUAGE, MARK_OG_TITLE, MARK_SITE_NAME,
    MARK_OG_URL, MARK_AUTHOR,
    MARK_PUBLISHED, MARK_DATE, MARK_MODIFIED, MARK_TIME_PUBLISHED, MARK_TIME_TEXT,
) = range(14)  # fmt: skip
META_NAMES = {
    "og:title": MARK_OG_TITLE, "twitter:title": MARK_OG_TITLE, "dc.title": MARK_OG_TITLE,
    "citation_title": MARK_OG_TITLE,
    "og:site_name": MARK_SITE_NAME, "application-name": MARK_SITE_NAME, "og:url": MARK_OG_URL,
    "author": MARK_AUTHOR, "article:author": MARK_AUTHOR, "dc.creator": MARK_AUTHOR,
    "dcterms.creator": MARK_AUTHOR,
    "citation_author": MARK_AUTHOR, "parsely-author": MARK_AUTHOR, "sailthru.author": MARK_AUTHOR,
    "byl": MARK_AUTHOR,
    "article:published_time": MARK_PUBLISHED, "og:published_time": MARK_PUBLISHED,
    "datepublished": MARK_PUBLISHED,
    "parsely-pub-date": MARK_PUBLISHED, "citation_publication_date": MARK_PUBLISHED,
    "dc.date.issued": MARK_PUBLISHED,
    "dcterms.issued": MARK_PUBLISHED, "dcterms.created": MARK_PUBLISHED, "sailthru.date": MARK_PUBLISHED,
    "pubdate": MARK_PUBLISHED,
    "publish-date": MARK_PUBLISHED, "publication_date": MARK_PUBLISHED, "datecreated": MARK_PUBLISHED,
    "date": MARK_DATE, "dc.date": MARK_DATE, "dcterms.date": MARK_DATE, "citation_date": MARK_DATE,
    "article.published": MARK_DATE,
    "article:modified_time": MARK_MODIFIED, "og:updated_time": MARK_MODIFIED, "datemodified": MARK_MODIFIED,
    "last-modified":
    MARK_MODIFIED,
}  # fmt: skip
