"""Readers' comments under an article: where they stand, and whether a page is a thread, whose posts they are.

A block is a comment when an element around it goes by a name of comments. A page with two elements that go by
names of forums and questions is a thread.
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
)  # fmt: skip
_TOKENS = np.array(sorted({T.token_hash(name) for name in _NAMES}), dtype=np.int32)
# Names that threads go by: of 133 pages of forums none with comments in it has fewer than two of these.
_THREADS = (
    "forum", "forums", "thread", "threads", "topic", "topiclist", "phpbb", "vbulletin", "xenforo",
    "viewtopic", "showthread", "showforum", "forumpost", "postbody", "postlist", "postrow", "postcontainer",
    "posts", "bbs", "discussion", "question", "questions", "answer", "answers", "message", "messages",
    "messagetext", "messagecontent", "subreddit", "usertext", "athing", "hnmore", "hnuser", "itemlist",
)  # fmt: skip
_THREAD_TOKENS = np.array(sorted({T.token_hash(name) for name in _THREADS}), dtype=np.int32)
_WHOLE = np.array([T.ID[name] for name in ("html", "body", "main", "article")])
_MIN_NAMED = 2  # elements of a thread
MIN_WORDS = 12  # of an article without its comments; with fewer they are what the page is for


def find(tokenized: Tokenized) -> npt.NDArray[np.bool_]:
    """Tell which blocks are comments under an article; none where the page is a thread."""
    blocks, elements = tokenized.blocks, tokenized.elements
    inside = _named(tokenized, _TOKENS)
    inside[0] = False
    inside[np.isin(elements[:, L.TAG], _WHOLE)] = False
    if not inside.any() or _named(tokenized, _THREAD_TOKENS).sum() >= _MIN_NAMED:
        return np.zeros(len(blocks), dtype=bool)
    for element, parent in enumerate(elements[:, L.PARENT].tolist()):
        if inside[parent]:
            inside[element] = True
    found: npt.NDArray[np.bool_] = inside[blocks[:, L.ELEMENT]]
    return found


def _named(tokenized: Tokenized, names: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Tell which elements go by one of these names."""
    elements = tokenized.elements
    before = np.concatenate([[0], np.cumsum(np.isin(tokenized.tokens, names))])
    found: npt.NDArray[np.bool_] = before[elements[:, L.TOKENS_END]] > before[elements[:, L.TOKENS_START]]
    return found
