"""What a record's header promises of its block's length, held against what is there.

A length that reaches too far swallows the records behind it. It is told by what follows the promised end;
the next record is then the first that starts within the block.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from gristmill.pipeline.sources.archives.cursor import SEAM_BYTES, Cursor, PlainFile

START_BYTES = 16  # enough to tell the start of a record


class Form(Protocol):
    """What is asked of an archive's form here: see `archive.Grammar`."""

    name: str
    start: re.Pattern[bytes]

    @property
    def find_restart(self) -> Callable[..., int]: ...


def swallowed(length: int, restart: int) -> str:
    return f"the header promises {length} bytes, the next record starts after {restart}"


def is_end(form: Form, last: bytes, following: bytes) -> bool:
    """Say whether a block can end before these bytes: in ARC, whose records begin like much else, at the end
    of a line."""
    rest = following.lstrip(b"\r\n")
    at_line = form.name != "arc" or last == b"\n" or following[:1] in (b"\r", b"\n")
    return not rest or bool(at_line and form.start.match(rest))


def leads_nowhere(cursor: Cursor, form: Form, length: int) -> str | None:
    """Say why the promised length of a record that is not kept is wrong: in a plain file the place behind it
    is looked at, instead of reading over whole records."""
    if not isinstance(cursor.members, PlainFile):
        return None
    window, at = cursor.members.window, cursor.offset()
    end = at + length
    if end <= window.size and is_end(form, b"", window.read_exactly(end, START_BYTES)):
        return None
    restart = cursor.members.first_record(at, min(end, window.size))
    return swallowed(length, restart - at) if restart >= 0 else None


def wrong_length(cursor: Cursor, form: Form, length: int, block: bytes) -> str | None:
    """Find out whether the length of a block that does not end at a record's end swallowed the records behind
    it; step back if so."""
    restart = form.find_restart(block, 0)
    if restart < 0:
        start = max(len(block) - SEAM_BYTES, 0)
        at = form.find_restart(block[start:] + cursor.peek(SEAM_BYTES), 0)
        if not 0 <= at < len(block) - start:
            return None
        restart = start + at
    cursor.push_back(block[restart:])
    return swallowed(length, restart)


def steps_over(cursor: Cursor, form: Form, length: int) -> str | None:
    """As `wrong_length`, and step to the next record, without a copy: headers that all promise the rest of
    the file would have it taken and given back for each of them."""
    got = cursor.fill(length + SEAM_BYTES)
    end = cursor.at + length
    following = cursor.buffer[end : end + START_BYTES]
    if got >= length and is_end(form, cursor.buffer[max(end - 1, cursor.at) : end], following):
        return None
    found = form.find_restart(cursor.buffer, cursor.at, end + SEAM_BYTES)
    restart = found - cursor.at
    if not 0 <= restart < length:
        return None
    cursor.at += restart
    return swallowed(length, restart)


def passes_over(
    cursor: Cursor, form: Form, length: int, head_bytes: int, has_lied: bool
) -> tuple[int, str | None]:
    """Step over a block that is not kept, in compressed members; return how much of it is there, and why its
    length is wrong, with the cursor at the next record then.

    What starts within it is a record where the promised end is none, and is inflated again. Once a header
    `has_lied` the first start counts: each of many such headers would have the rest of the file inflated.
    """
    is_first = cursor.place == head_bytes  # of its member: a member may be one record of any size
    got, restart, mark, damage = 0, -1, (0, 0), None
    while True:
        offset, place = cursor.members.offset, cursor.place
        more, found, damage = cursor.pass_over(length - got, form.find_restart, has_lied)
        if restart < 0 <= found and place + found >= 0:
            restart, mark = got + found, (offset, place + found)
        got += more
        if restart >= 0 and has_lied:
            return got, swallowed(length, restart)
        # A record may go on in the next member.
        if damage or got >= length or cursor.members.at_record() or not cursor.open():
            break
    if damage and (restart < 0 or (is_first and damage.error == "too_large")):
        raise damage
    if restart < 0 or (got == length and is_end(form, b"", cursor.peek(START_BYTES))):
        return got, None
    cursor.go_back(*mark)
    return got, swallowed(length, restart)
