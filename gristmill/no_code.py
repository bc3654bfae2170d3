"""Whether a recipe may carry code of its own: `--no-code` sets the variable, and so may an administrator."""

from __future__ import annotations

import os

NO_CODE = "GRISTMILL_NO_CODE"


def code_is_refused() -> bool:
    """Whether `--no-code`, or the variable behind it, forbids recipes with code of their own."""
    return os.environ.get(NO_CODE, "").strip().lower() not in ("", "0", "false", "no")


def refuse_code(what: str) -> None:
    """Raise ValueError where recipes may carry no code."""
    if code_is_refused():
        raise ValueError(f"{what} is code of the recipe's own, which --no-code ({NO_CODE}) refuses")
