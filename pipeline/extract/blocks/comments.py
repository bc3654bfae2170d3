"""Readers' comments under an article: where they stand, and whether a page is an article at all.

A block is a comment when an element around it goes by a name of comments. Where the rest of the page keeps
hardly any prose, the comments are what the page is for, as in a forum: then they are none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gristmill.pipeline.extract.blocks import layout as L
from gristmill.pipeline.extract.blocks import tags as T
from gristmill.pipeline.extract.blocks.surroundings import PROSE_LINKS, PROSE_WORDS
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
_TOKENS = np.array(sorted({T.token(name) for name in _NAMES}), dtype=np.int32)
_WHOLE = np.array([T.ID[name] for name in ("html", "body", "main", "article")])
_FEW_WORDS = 60  # of prose kept beside the comments; with fewer the page is a thread
_FEW_SHARE = 0.1  # of all words kept, likewise


def find(tokenized: Tokenized, kept: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Tell which blocks are comments under an article; none where the page is a thread."""
    blocks, elements = tokenized.blocks, tokenized.elements
    named = np.concatenate([[0], np.cumsum(np.isin(tokenized.tokens, _TOKENS))])
    inside = named[elements[:, L.TOKENS_END]] > named[elements[:, L.TOKENS_START]]
    inside[np.isin(elements[:, L.TAG], _WHOLE)] = False
    none = np.zeros(len(blocks), dtype=bool)
    inside[0] = False
    if not inside.any():
        return none
    for element, parent in enumerate(elements[:, L.PARENT].tolist()):
        if inside[parent]:
            inside[element] = True
    found = inside[blocks[:, L.ELEMENT]]
    words = blocks[:, L.WORDS]
    is_prose = (words >= PROSE_WORDS) & (blocks[:, L.LINK_WORDS] <= PROSE_LINKS * words)
    beside = int(words[kept & ~found & is_prose].sum())
    if beside < max(_FEW_WORDS, _FEW_SHARE * int(words[kept].sum())):
        return none
    return found
