"""Compiled: the one loop over windows that calls a C function by its address. Importing this imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

INT, DOUBLE = ir.IntType(32), ir.DoubleType()


@intrinsic  # type: ignore[untyped-decorator]
def _call_c(typing: Any, address: Any, ends: Any, inputs: Any, at: Any, options: Any, counts: Any, outputs: Any) -> Any:
    """`int TA_X(int startIdx, int endIdx, const double in[]..., options..., int *begin, int *count, double out[]...)`,
    its pointers moved on by whole bytes: `at[0]` for the inputs, `at[1]` for the outputs."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, ends, inputs, at, options, counts, outputs = arguments
        long = ir.IntType(64)
        step_in, step_out = (builder.extract_value(at, one) for one in (0, 1))

        def pointer(value: Any, step: Any, kind: Any) -> Any:
            return builder.inttoptr(builder.add(value, step), kind.as_pointer())

        values = [builder.trunc(builder.extract_value(ends, one), INT) for one in (0, 1)]
        values += [
            pointer(builder.extract_value(inputs, one), step_in, DOUBLE) for one in range(len(signature.args[2]))
        ]
        for one, kind in enumerate(signature.args[4]):
            option = builder.extract_value(options, one)
            values.append(builder.trunc(option, INT) if isinstance(kind, types.Integer) else option)
        values += [pointer(counts, ir.Constant(long, 4 * one), INT) for one in (0, 1)]
        values += [
            pointer(builder.extract_value(outputs, one), step_out, DOUBLE) for one in range(len(signature.args[6]))
        ]
        function = ir.FunctionType(INT, [value.type for value in values])
        return builder.call(builder.inttoptr(address, function.as_pointer()), values)

    return types.int32(address, ends, inputs, at, options, counts, outputs), made


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def call_windows(
    address: int,
    inputs: tuple[int, ...],
    options: tuple[float, ...],
    begin: int,
    size: int,
    count: int,
    expected: int,
    counts: Any,
    outputs: tuple[int, ...],
) -> int:
    """Windows of `size` values, each one value later than the one before, computed from value `begin` of the window on;
    returns how many came out as expected."""
    place = counts.ctypes.data
    for window in range(count):
        at = (np.int64(8) * window, np.int64(8) * window * size)
        if _call_c(address, (begin, size - 1), inputs, at, options, place, outputs) != 0 or counts[1] != expected:
            return window
    return count
