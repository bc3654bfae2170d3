"""Readers' comments under an article: where they stand, and whether a page is a thread, whose posts they are.

A block is a comment when an element around it goes by a name of comments, or when it follows, within the same
element, a heading or an anchor before one that is named `comments`: old blogs name nothing else. A page with
two elements that go by names of forums and questions is a thread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.tokenizer import Tokenized

# Classes and ids, and the words these are made of, by which comments go.
_NAMES = (
    "comment", "comments", "commentlist", "commentary-list", "commentarea", "commentform", "commenter",
    "comment-list", "comments-area", "disqus", "disqus_thread", "livefyre", "intensedebate", "talkback",
    "talkbacks", "respond", "trackback", "trackbacks", "pingback", "pingbacks", "kommentar", "kommentare",
    "commentaire", "commentaires", "comentario", "comentarios", "commenti", "komentarz", "komentarze",
    "komentar", "komentare", "reacties", "yorum", "yorumlar", "pinglun", "usercomments", "readercomments",
    "commentbody", "commenttext", "commentblock", "commentbox", "commentcontent", "commentswrapper",
    "postcomments", "articlecomments", "blogcomments", "feedbackcomments",
    "postmetadata",  # WordPress's first theme: how to follow responses and to leave one
)  # fmt: skip
_TOKENS = np.array(sorted({T.token_hash(name) for name in _NAMES}), dtype=np.int32)
# Names that threads go by: of 133 pages of forums with comments in them two have fewer than two of these.
_THREADS = (
    "forum", "forums", "thread", "threads", "topic", "topiclist", "phpbb", "vbulletin", "xenforo",
    "viewtopic", "showthread", "showforum", "forumpost", "postbody", "postlist", "postrow", "postcontainer",
    "bbs", "discussion", "question", "questions", "answer", "answers", "message", "messages",
    "messagetext", "messagecontent", "subreddit", "usertext", "athing", "hnmore", "hnuser", "itemlist",
)  # fmt: skip
_THREAD_TOKENS = np.array(sorted({T.token_hash(name) for name in _THREADS}), dtype=np.int32)
# Said of comments too (WordPress's `thread-even`, Disqus's own), and so no sign of a thread among them.
_OF_COMMENTS = np.array([T.token_hash("thread")], dtype=np.int32)
_HEADING_TOKENS = np.array([T.token_hash("comments")], dtype=np.int32)
# Tags whose names are about the page, not about a part of it.
_WHOLE = np.zeros(T.NUM_TAGS, dtype=np.bool_)
_WHOLE[[T.ID[name] for name in ("html", "body", "main", "article")]] = True
_MIN_NAMED = 2  # elements of a thread
MIN_WORDS = 12  # of an article without its comments; with fewer they are what the page is for


def find(tokenized: Tokenized) -> npt.NDArray[np.bool_]:
    """Tell which blocks are comments under an article; none where the page is a thread."""
    blocks, elements = tokenized.blocks, tokenized.elements
    inside = _named(tokenized, _TOKENS)
    inside[0] = False
    inside[_WHOLE[elements[:, L.TAG]]] = False
    inside = _with_descendants(elements, inside)
    begins = _headings(tokenized)
    if not (inside.any() or len(begins)) or _is_thread(tokenized, inside):
        return np.zeros(len(blocks), dtype=bool)
    found: npt.NDArray[np.bool_] = inside[blocks[:, L.ELEMENT]]
    if len(begins):
        found |= _behind(tokenized, begins)
    return found


def _is_thread(tokenized: Tokenized, comments: npt.NDArray[np.bool_]) -> bool:
    """Tell whether elements of a page, those of its comments given, make it a thread."""
    named = _named(tokenized, _THREAD_TOKENS)
    elsewhere = np.isin(tokenized.tokens, _OF_COMMENTS, invert=True)
    named &= ~comments | _named(tokenized, _THREAD_TOKENS, elsewhere)
    return int(named.sum()) >= _MIN_NAMED


def _headings(tokenized: Tokenized) -> npt.NDArray[np.intp]:
    """Return the headings that are named `comments`, by themselves or by an anchor in or before them."""
    blocks, elements = tokenized.blocks, tokenized.elements
    is_heading = elements[:, L.CONTEXT] & T.HEADING > 0
    named = _named(tokenized, _HEADING_TOKENS) & is_heading
    before = np.concatenate([[0], np.cumsum(np.isin(tokenized.tokens, _HEADING_TOKENS))])
    anchored = before[blocks[:, L.TOKEN_END]] > before[blocks[:, L.TOKEN_START]]
    own = blocks[:, L.ELEMENT]
    return np.flatnonzero(named[own] | (anchored & is_heading[own]))


def _behind(tokenized: Tokenized, headings: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Tell which blocks are one of these headings or follow it within the element that holds it.

    One pass over the elements, however many headings there are: each keeps the first block from which on its
    own are found, by itself or by an element around it.
    """
    blocks, elements = tokenized.blocks, tokenized.elements
    parents, is_heading = elements[:, L.PARENT].tolist(), (elements[:, L.CONTEXT] & T.HEADING > 0).tolist()
    holds = [*range(len(parents))]  # the element itself, or the nearest around it that is in no heading
    for element, parent in enumerate(parents):
        if element and is_heading[element]:
            holds[element] = holds[parent]
    begins = [len(blocks)] * len(parents)
    for first in headings.tolist():
        holder = holds[parents[blocks[first, L.ELEMENT]]]
        begins[holder] = min(begins[holder], first)
    for element, parent in enumerate(parents):
        if element:
            begins[element] = min(begins[element], begins[parent])
    found: npt.NDArray[np.bool_] = np.array(begins)[blocks[:, L.ELEMENT]] <= np.arange(len(blocks))
    return found


def _with_descendants(
    elements: npt.NDArray[np.int64], chosen: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Add to some elements those within them."""
    inside = chosen.tolist()
    for element, parent in enumerate(elements[:, L.PARENT].tolist()):
        if element and inside[parent]:
            inside[element] = True
    return np.array(inside, dtype=bool)


def _named(
    tokenized: Tokenized, names: npt.NDArray[np.int32], among: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Tell which elements go by one of these names, by tokens `among` some where these are given."""
    elements, hits = tokenized.elements, np.isin(tokenized.tokens, names)
    before = np.concatenate([[0], np.cumsum(hits if among is None else hits & among)])
    found: npt.NDArray[np.bool_] = before[elements[:, L.TOKENS_END]] > before[elements[:, L.TOKENS_START]]
    return found
