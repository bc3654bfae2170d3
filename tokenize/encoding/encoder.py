"""Encode texts from Arrow: by gigatoken where it gives the reference's ids, else by the reference itself.

Evidence decides. A probe of odd strings goes through both when an encoder is made, and a hash sample of the
corpus before its documents are encoded; one difference, and the reference encodes everything.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gristmill.errors import InputError
from gristmill.hashing import sha256_file
from gristmill.tokenize.encoding.fast import Fast, holds_newer, is_panic
from gristmill.tokenize.encoding.probe import ODD
from gristmill.tokenize.encoding.tokenizers import Tokenizer, open_tokenizer
from gristmill.tokenize.settings import TokenizerSettings

Ids = npt.NDArray[np.uint32]


@dataclass(slots=True)
class EncodedTexts:
    """Ids end to end, without end tokens; `lengths` per text; the rows that no encoder takes, and why."""

    tokens: Ids
    lengths: npt.NDArray[np.int64]
    refused: dict[int, str] = field(default_factory=dict)


class Encoder:
    """One tokenizer at work in one process; `facts` says who encoded and what went to the reference."""

    def __init__(self, tokenizer: Tokenizer, *, fast: bool = True) -> None:
        self.tokenizer = tokenizer
        self.num_by_reference = 0
        self.refusal = ""
        self._fast: Fast | None = None
        self._own_why = "" if fast else "switched off"
        self._special = np.zeros(tokenizer.vocab_size, np.bool_)
        own = [id for id in tokenizer.special.values() if id != tokenizer.unknown_id]
        self._special[own] = True
        self._special[tokenizer.ending.id] = True
        ids = np.flatnonzero(self._special)
        self._special_range = int(ids[0]), int(ids[-1])
        if fast:
            try:
                self._fast = Fast(tokenizer)
            except ValueError as error:
                self._own_why = str(error)
        if self._fast:
            literals = [f"a {literal}{literal} b{literal}" for literal in tokenizer.special]
            texts = [*ODD, *literals[:512]]
            found = [self._reference(text) for text in texts]
            self._own_why = self._difference(texts, found, "a built-in text")
        self.why = self._own_why

    @property
    def facts(self) -> dict[str, Any]:
        """Who encodes, with its version, and why not the fast one."""
        name = self.tokenizer.library if self.why else "gigatoken"
        facts = {"encoder": f"{name} {importlib.metadata.version(name)}"}
        return facts | ({"encoder_why": self.why} if self.why else {})

    def begin(self) -> None:
        """Begin a file: what was found of the one before counts no more."""
        self.num_by_reference = 0
        self.why = self._own_why

    def examine(self, texts: Sequence[str]) -> list[Sequence[int]]:
        """Encode a sample of the file by the reference, hold the fast encoder to it, return the ids.

        From a difference on, `why` says it, and the reference encodes the file. Texts that the reference does
        not take come back without ids.
        """
        found = [self._reference(text) for text in texts]
        self.why = self.why or self._difference(texts, found, "a document")
        return [() if ids is None else ids.tolist() for ids in found]

    def encode(self, texts: pa.Array) -> EncodedTexts:
        """Encode a `large_string` array; a null is an empty text."""
        parts: list[Ids] = []
        refused: dict[int, str] = {}
        offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
        data = memoryview(texts.buffers()[2] or b"")
        one = self._quickest()
        for row, (start, stop) in enumerate(pairwise(offsets.tolist())):
            text = data[start:stop].tobytes()
            try:
                parts.append(one(text))
            except BaseException as error:
                try:
                    parts.append(self._instead(error, text))
                except _Refused as refusal:
                    refused[row] = str(refusal)
                    parts.append(np.empty(0, np.uint32))
        if self._fast:
            self._fast.bound()
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        tokens = np.concatenate(parts) if parts else np.empty(0, np.uint32)
        return self._without_special(EncodedTexts(tokens, lengths, refused), parts, data, offsets)

    def _quickest(self) -> Callable[[bytes], Ids]:
        """What encodes a text: gigatoken's own function where it may be given any text."""
        if self._fast and not self.why and self.tokenizer.kind == "sentencepiece":
            return self._fast.encode
        return self._one

    def _one(self, text: bytes) -> Ids:
        newer = self.tokenizer.kind != "sentencepiece" and holds_newer(text)
        self.num_by_reference += newer
        if self._fast and not self.why and not newer:
            try:
                return self._fast.encode(text)
            except BaseException as error:
                return self._instead(error, text)
        return self._by_reference(text)

    def _instead(self, error: BaseException, text: bytes) -> Ids:
        """Encode by the reference what gigatoken failed on; raise again what is another's failure."""
        ours = isinstance(error, _Refused) or not (isinstance(error, Exception) or is_panic(error))
        if ours or self._fast is None:
            raise error
        self._fast.renew()  # what panicked may have been left half done
        self.num_by_reference += 1
        return self._by_reference(text)

    def _by_reference(self, text: bytes) -> Ids:
        found = self._reference(text.decode())
        if found is None:
            raise _Refused(self.refusal)
        return found

    def _reference(self, text: str) -> Ids | None:
        """The reference's ids, or None, with `refusal` set, for a text that it fails on."""
        try:
            return np.asarray(self.tokenizer.encode_batch([text])[0], np.uint32)
        except BaseException as error:
            if not isinstance(error, Exception) and not is_panic(error):
                raise
            self.refusal = f"{self.tokenizer.library}: {type(error).__name__}: {error}"[:200]
            return None

    def _difference(self, texts: Sequence[str], ids: Sequence[Ids | None], what: str) -> str:
        """Name the first text for which the fast encoder does not give the reference's ids, if any."""
        assert self._fast is not None
        for text, expected in zip(texts, ids, strict=True):
            if expected is None:
                continue
            try:
                same = np.array_equal(self._fast.encode(text.encode()), expected)
            except BaseException as error:
                if not isinstance(error, Exception) and not is_panic(error):
                    raise
                self._fast.renew()
                continue  # encoding, too, hands such a text to the reference
            if not same:
                return f"gigatoken gives other ids for {what}: {text[:60]!r}"
        return ""

    def _without_special(
        self, found: EncodedTexts, parts: list[Ids], data: memoryview, offsets: npt.NDArray[np.int64]
    ) -> EncodedTexts:
        """Encode anew, in pieces, the texts in which a special token came up."""
        if found.tokens.size and int(found.tokens.max()) >= self.tokenizer.vocab_size:
            raise InputError(
                f"the tokenizer gave the id {int(found.tokens.max())}, beyond its vocabulary of"
                f" {self.tokenizer.vocab_size}",
                where=str(self.tokenizer.file),
                hint="the file declares fewer tokens than it uses",
            )
        hits = self._hits(found.tokens)
        if not len(hits):
            return found
        rows = np.unique(np.searchsorted(np.cumsum(found.lengths), hits, side="right")).tolist()
        for row in rows:
            text = bytes(data[int(offsets[row]) : int(offsets[row + 1])]).decode()
            parts[row] = self._apart(text)
            self.num_by_reference += 1
            if self._special[parts[row]].any():
                token = self.tokenizer.piece(int(parts[row][self._special[parts[row]]][0]))
                found.refused[row] = f"its text becomes the special token {token}"
                parts[row] = np.empty(0, np.uint32)
        found.lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        found.tokens = np.concatenate(parts)
        return found

    def _hits(self, tokens: Ids) -> npt.NDArray[np.int64]:
        """Where special tokens stand; most lie beside each other at an end of the vocabulary, so that a range
        tells most others apart."""
        low, high = self._special_range
        near = np.flatnonzero((tokens - np.uint32(low)) <= np.uint32(high - low))
        return near[self._special[tokens[near]]]

    def _apart(self, text: str) -> Ids:
        """Encode a text cut after the first character of every special token that it spells."""
        literals = sorted(self.tokenizer.special, key=len, reverse=True)
        cuts = [match.start() + 1 for match in re.finditer("|".join(map(re.escape, literals)), text)]
        bounds = [0, *cuts, len(text)]
        pieces = [text[start:stop] for start, stop in pairwise(bounds)]
        found = [self._reference(piece) for piece in pieces if piece]
        return np.concatenate([np.empty(0, np.uint32), *(ids for ids in found if ids is not None)])


class _Refused(Exception):
    """No encoder takes the text."""


def encoder_of(file: Path, settings: TokenizerSettings, *, fast: bool = True) -> Encoder:
    """The encoder of a tokenizer file, kept for the next file that this process encodes with it."""
    return _made(file, sha256_file(file), settings.model_dump_json(), fast)


@lru_cache(maxsize=1)
def _made(file: Path, sha256: str, settings: str, fast: bool) -> Encoder:
    tokenizer = open_tokenizer(file, TokenizerSettings.model_validate_json(settings))
    return Encoder(tokenizer, fast=fast)
