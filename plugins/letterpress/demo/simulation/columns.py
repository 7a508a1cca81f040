"""Text as columns: names, money and JSON of a whole day at once, by look-up and joining; no loop over rows."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

INSTANT = pa.timestamp("ms", "UTC")

_HEX = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
_DASHES = np.array([8, 13, 18, 23])  # in a UUID's 36 signs
_CENTS = tuple(f".{cent:02d}".rstrip("0") if cent else ".0" for cent in range(100))


def texts(values: Iterable[str | None]) -> pa.StringArray:
    """A small table to look texts up in."""
    return pa.array(list(values), pa.string())


@cache
def constants(values: tuple[str | None, ...]) -> pa.StringArray:
    """The same for texts that never change: made once."""
    return texts(values)


def look_up(table: pa.Array, codes: np.ndarray, there: np.ndarray | None = None) -> pa.Array:
    """The table's value for each code; null where ``there`` is false, whatever the code."""
    return table.take(pa.array(codes, mask=None if there is None else ~there))


def join(*parts: pa.Array | str) -> pa.StringArray:
    """The parts one behind the other, row by row; null where one of them is."""
    return pc.binary_join_element_wise(*parts, "")


def assemble(count: int, parts: Sequence[tuple[np.ndarray, pa.Array]]) -> pa.Array:
    """One column of ``count`` texts from columns that each fill some of the rows; the rest is null."""
    index, filled = np.zeros(count, np.int64), np.zeros(count, bool)
    offset = 0
    parts = [(rows, values) for rows, values in parts if len(values)]
    for rows, values in parts:
        index[rows] = offset + np.arange(len(values))
        filled[rows] = True
        offset += len(values)
    if not parts:
        return pa.nulls(count, pa.string())
    values = pa.concat_arrays([values for _, values in parts])
    return values.take(pa.array(index, mask=None if filled.all() else ~filled))


def numbered(prefix: str, numbers: np.ndarray, width: int, there: np.ndarray | None = None) -> pa.StringArray:
    """``C000042``: a prefix and at least ``width`` digits; null where ``there`` is false."""
    digits = pa.array(numbers, mask=None if there is None else ~there).cast(pa.string())
    return join(prefix, pc.utf8_lpad(digits, width, "0"))


def fixed(signs: np.ndarray) -> pa.StringArray:
    """Texts of equal length from a matrix of ASCII codes, one row a text."""
    count, width = signs.shape
    offsets = np.arange(0, (count + 1) * width, width, np.int32) if width else np.zeros(count + 1, np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(signs)))


def hexadecimal(words: np.ndarray) -> pa.StringArray:
    """64-bit words as sixteen digits."""
    return fixed(_digits(words))


def uuids(high: np.ndarray, low: np.ndarray) -> pa.StringArray:
    """128 random bits as UUIDs of version 4."""
    high = (high & np.uint64(0xFFFFFFFFFFFF0FFF)) | np.uint64(0x4000)
    low = (low & np.uint64(0x3FFFFFFFFFFFFFFF)) | np.uint64(0x8000000000000000)
    first, second = _digits(high), _digits(low)
    signs = np.empty((len(high), 36), np.uint8)
    signs[:, _DASHES] = ord("-")
    signs[:, 0:8], signs[:, 9:13], signs[:, 14:18] = first[:, :8], first[:, 8:12], first[:, 12:]
    signs[:, 19:23], signs[:, 24:36] = second[:, :4], second[:, 4:]
    return fixed(signs)


def _digits(words: np.ndarray) -> np.ndarray:
    return _HEX[words.astype(">u8").view(np.uint8)].view(np.uint8).reshape(len(words), 16)


def instants(at: np.ndarray) -> pa.Array:
    """Milliseconds since 1970 as instants."""
    return pa.Array.from_buffers(INSTANT, len(at), [None, pa.py_buffer(np.ascontiguousarray(at, np.int64))])


def money(pence: np.ndarray) -> np.ndarray:
    """Pence as pounds: the double nearest to two decimals."""
    return pence / 100.0


def money_json(pence: np.ndarray) -> pa.StringArray:
    """Pence as pounds, written as JSON writes a double: 12.0, 12.5, 12.34."""
    return join(pa.array(pence // 100).cast(pa.string()), look_up(constants(_CENTS), pence % 100))


def json(value: Any) -> str:
    """JSON text with sorted keys, as the landed columns hold it."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def ranges(start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers from each start up to its stop in one array, and the offsets at which each range begins."""
    lengths = stop - start
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return np.repeat(start - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets
