"""Arrays and sparse matrices as an npz file whose bytes depend on nothing but them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np
from scipy import sparse

_EPOCH = (1980, 1, 1, 0, 0, 0)
_PARTS = ("data", "indices", "indptr", "shape")


def dump(arrays: Mapping[str, np.ndarray | sparse.csr_matrix]) -> bytes:
    """An npz file, without pickle and without the clock; text becomes fixed-width Unicode."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            parts = {name: value}
            if sparse.issparse(value):
                parts = {f"{name}:{part}": np.asarray(getattr(value, part)) for part in _PARTS}
            for part, array in parts.items():
                file = io.BytesIO()
                array = array.astype(str) if array.dtype == object else array
                np.lib.format.write_array(file, array, allow_pickle=False)
                info = zipfile.ZipInfo(f"{part}.npy", _EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(info, file.getvalue())
    return target.getvalue()


def load(content: bytes) -> dict[str, np.ndarray | sparse.csr_matrix]:
    """The inverse of :func:`dump`; text comes back as objects."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    result: dict[str, np.ndarray | sparse.csr_matrix] = {}
    for name, array in arrays.items():
        base, _, part = name.partition(":")
        if part == "data":
            data, indices, indptr, shape = (arrays[f"{base}:{each}"] for each in _PARTS)
            result[base] = sparse.csr_matrix((data, indices, indptr), shape=tuple(shape))
        elif not part:
            result[base] = array.astype(object) if array.dtype.kind == "U" else array
    return result
