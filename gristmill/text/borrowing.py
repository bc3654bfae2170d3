"""Arrays of which compiled code counts no references.

numba counts a reference, atomically, wherever a function that was not inlined takes an array, or one is taken
out of a tuple: in kernels of many small functions more time than their work. What is borrowed is not counted:
whoever called the kernel must hold the array until it returns.
"""

from __future__ import annotations

from typing import Any

from numba.extending import intrinsic

from gristmill.text import kernel  # noqa: F401  sets the cache folder before any kernel is made


@intrinsic  # type: ignore[misc]  # numba carries no types
def borrowed(typing: Any, array: Any) -> Any:
    """Return the same array, without a share in its memory."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        own = context.make_array(array)(context, builder, arguments[0])
        own.meminfo = own.meminfo.type(None)
        return own._getvalue()

    return array(array), generate
