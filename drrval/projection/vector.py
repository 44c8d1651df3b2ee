"""Eight voxels at a time: the steps of the separable kernel that a compiler does not find by itself.

Looking up the two neighbours of eight neighbouring detector columns is one load and two permutations where the
processor has AVX2 (instruction ``vpermps``), because eight columns lie within eight voxels if a column is narrower than
6/7 of a voxel. Elsewhere :data:`PERMUTES` is False, and a loop does the same.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8
WIDEST_STEP = 6.0 / 7.0  # voxels per column up to which eight columns and their right neighbours lie in eight voxels
PERMUTES = bool(binding.get_host_cpu_features().get("avx2", False))

_INT32 = ir.IntType(32)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_CELLS = ir.VectorType(_INT32, LANES)
_FAST = ("contract", "reassoc", "nsz", "nnan", "arcp")  # as drrval.projection.sampling.FAST


def _pick(typingctx: Any, row: Any, cells: Any, c: Any, left: Any, right: Any) -> Any:
    """``left[c:c+8] = row[cells[c:c+8]]`` and ``right`` the same one voxel on; float32, and uint32 cells."""
    signature = types.void(row, cells, c, left, right)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = _neighbours(context, builder, signature, args, args[2])
        for k, value in zip((3, 4), values, strict=True):
            builder.store(value, _address(context, builder, signature, args, k, args[2], _FLOATS), align=4)
        return context.get_dummy_value()

    return signature, generate


def _blend(typingctx: Any, row: Any, cells: Any, weights0: Any, weights1: Any, c: Any, out: Any) -> Any:
    """``out = weights0 * row[cells] + weights1 * row[cells + 1]`` for the eight columns from c."""
    signature = types.void(row, cells, weights0, weights1, c, out)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        c = args[4]
        values = _neighbours(context, builder, signature, args, c)
        weights = [builder.load(_address(context, builder, signature, args, k, c, _FLOATS), align=4) for k in (2, 3)]
        terms = [builder.fmul(w, v, flags=_FAST) for w, v in zip(weights, values, strict=True)]
        total = builder.fadd(*terms, flags=_FAST)
        builder.store(total, _address(context, builder, signature, args, 5, c, _FLOATS), align=4)
        return context.get_dummy_value()

    return signature, generate


def _transpose(typingctx: Any, values: Any, z: Any, y: Any, x: Any, out: Any, i: Any) -> Any:
    """``out[p, i + k] = values[z, y + k, x + p]`` for k and p from 0 to 7, as float32.

    Read voxel by voxel along y, a cache line is fetched for every value.
    """
    signature = types.void(values, z, y, x, out, i)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        offset = args[2].type
        lines = []
        for k in range(LANES):
            index = [args[1], builder.add(args[2], ir.Constant(offset, k)), args[3]]
            lines.append(_load_floats(context, builder, signature.args[0], args[0], index))
        target = context.make_array(signature.args[4])(context, builder, args[4])
        for p, line in enumerate(_transposed(builder, lines)):
            index = [ir.Constant(offset, p), args[5]]
            place = cgutils.get_item_pointer(context, builder, signature.args[4], target, index, wraparound=False)
            builder.store(line, builder.bitcast(place, _FLOATS.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, generate


pick: Any = intrinsic(_pick)
blend: Any = intrinsic(_blend)
transpose: Any = intrinsic(_transpose)


def _address(context: Any, builder: Any, signature: Any, args: Any, k: int, offset: Any, vector: Any) -> Any:
    """Where a vector begins in the one-dimensional array that is argument k."""
    array = context.make_array(signature.args[k])(context, builder, args[k])
    return builder.bitcast(builder.gep(array.data, [offset]), vector.as_pointer())


def _neighbours(context: Any, builder: Any, signature: Any, args: Any, c: Any) -> tuple[Any, Any]:
    """``row[cells]`` and ``row[cells + 1]`` (row and cells are arguments 0 and 1), the cells rising or falling."""
    cells = builder.load(_address(context, builder, signature, args, 1, c, _CELLS), align=4)
    first, last = (builder.extract_element(cells, ir.Constant(_INT32, k)) for k in (0, LANES - 1))
    base = builder.select(builder.icmp_unsigned("<", first, last), first, last)
    empty = ir.Constant(_CELLS, ir.Undefined)
    lowest = builder.insert_element(empty, base, ir.Constant(_INT32, 0))
    lanes = builder.sub(cells, builder.shuffle_vector(lowest, empty, ir.Constant(_CELLS, [0] * LANES)))
    begin = builder.zext(base, ir.IntType(64))
    window = builder.load(_address(context, builder, signature, args, 0, begin, _FLOATS), align=4)
    kind = ir.FunctionType(_FLOATS, [_FLOATS, _CELLS])
    permute = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx2.permps")
    following = builder.add(lanes, ir.Constant(_CELLS, [1] * LANES))
    return builder.call(permute, [window, lanes]), builder.call(permute, [window, following])


def _load_floats(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """Eight neighbouring int16, uint8 or float32 values as floats."""
    source = context.make_array(array_type)(context, builder, array)
    element = context.get_data_type(array_type.dtype)
    place = cgutils.get_item_pointer(context, builder, array_type, source, index, wraparound=False)
    place = builder.bitcast(place, ir.VectorType(element, LANES).as_pointer())
    values = builder.load(place, align=array_type.dtype.bitwidth // 8)
    if isinstance(array_type.dtype, types.Float):
        return values
    return (builder.sitofp if array_type.dtype.signed else builder.uitofp)(values, _FLOATS)


def _transposed(builder: Any, lines: list[Any]) -> list[Any]:
    """Eight vectors of eight, rows and columns swapped, in three rounds of shuffles."""

    def shuffle(a: Any, b: Any, lanes: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(_CELLS, lanes))

    pairs = []
    for k in range(0, LANES, 2):
        pairs.append(shuffle(lines[k], lines[k + 1], [0, 8, 1, 9, 4, 12, 5, 13]))
        pairs.append(shuffle(lines[k], lines[k + 1], [2, 10, 3, 11, 6, 14, 7, 15]))
    fours = []
    for k in (0, 4):
        for a, b in ((pairs[k], pairs[k + 2]), (pairs[k + 1], pairs[k + 3])):
            fours.append(shuffle(a, b, [0, 1, 8, 9, 4, 5, 12, 13]))
            fours.append(shuffle(a, b, [2, 3, 10, 11, 6, 7, 14, 15]))
    low = [shuffle(fours[k], fours[k + 4], [0, 1, 2, 3, 8, 9, 10, 11]) for k in range(4)]
    high = [shuffle(fours[k], fours[k + 4], [4, 5, 6, 7, 12, 13, 14, 15]) for k in range(4)]
    return low + high
