"""Ask for memory before it is read: a table larger than the caches answers in the time of a hundred sums."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_BYTES = ir.IntType(8).as_pointer()
_INT32 = ir.IntType(32)


@intrinsic  # type: ignore[misc]  # numba carries no types
def fetch_ahead(typing: Any, address: Any) -> Any:
    """Begin to bring the line of the cache at an address; any address will do, and nothing waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _BYTES)
        told = ir.FunctionType(ir.VoidType(), [_BYTES, _INT32, _INT32, _INT32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], told)
        read, keep, data = (ir.Constant(_INT32, number) for number in (0, 3, 1))
        builder.call(function, [place, read, keep, data])
        return context.get_dummy_value()

    return types.void(types.uint64), generate
