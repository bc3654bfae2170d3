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
MAX_INSERTS = 40_000  # formulas and marks of phrases
MAX_FORMULA_BYTES = 65_536  # of markup; what is longer is read as ordinary markup
CAPS = ("depth", "elements", "blocks", "text", "inserts")  # bit by bit in state[CAP]

# What `tokenize` is asked to write beside text, bit by bit; XHTML is what the page says of itself.
WITH_CODE, WITH_EMPHASIS, WITH_LINKS, WITH_IMAGES, IS_XHTML = 1, 2, 4, 8, 16

# An insert stands in the text as this byte, which no page can bring: controls are dropped.
INSERT_BYTE = 2
# What is inserted; a phrase ends with the kind after the one it began with.
(
    FORMULA, IMAGE, CODE_BEGIN, CODE_END, STRONG_BEGIN, STRONG_END, EMPHASIS_BEGIN, EMPHASIS_END, LINK_BEGIN,
    LINK_END,
) = range(10)  # fmt: skip
# Columns of an insert: its kind, where its markup (of a link its address, of an image its text; of the begin
# of another phrase its first byte twice) lies in the page, and where its byte lies in the text.
KIND, INSERT_START, INSERT_END, TEXT_AT = range(4)
NUM_INSERT_COLUMNS = 4

# Columns of a block.
(
    START, END, ELEMENT, WORDS, LINK_WORDS, LINKS, CHARS, LINK_CHARS, BOLD_CHARS, UPPER, DIGITS, PUNCTUATION,
    COMMAS, ENDS, WIDE,
    BREAKS, IMAGES, INPUTS, SOURCE_START, SOURCE_END, HASH, WORD_START, WORD_END, TOKEN_START, TOKEN_END,
    FLAGS, LAST_CHAR, BUTTONS,
) = range(28)  # fmt: skip
NUM_BLOCK_COLUMNS = 28
IS_VERBATIM = 1  # in FLAGS: the content of an `xmp`, or of a `textarea` that holds code

# Columns of an element.
PARENT, TAG, CONTEXT, DEPTH, NAME_HASH, TOKENS_START, TOKENS_END, CELL, SIGNATURE = range(9)
NUM_ELEMENT_COLUMNS = 9
# Columns of its place: where its markup begins and ends in the page.
OPENED, CLOSED = range(2)

# The tokenizer's state.
(
    OUT, NUM_BLOCKS, NUM_ELEMENTS, STACK, OVERFLOW, NUM_TOKENS, NUM_WORDS, NUM_MARKS, PENDING, BREAK, LINK,
    LINK_STACK, BOLD,
    BOLD_STACK,
    IN_WORD, WORD_HASH, LINK_CLOSED, CAP, DONE, CURRENT, UNENDED, NO_COMMENT_END, NUMERIC, MODE, AT,
    NUM_INSERTS, NO_FORMULA_END, VERBATIM, PAGE_BYTES, NUM_CODE, NUM_FORMULAS,
    COUNTS,
) = range(32)  # fmt: skip
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
