"""scikit-learn objects as skops files whose bytes depend on nothing but the object."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import skops.io

from ml.errors import RegistryError

TRUSTED = frozenset(
    {"numpy.dtype", "numpy.clip", "numpy.log1p", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}
)
"""What our pipelines hold beyond what skops trusts by itself; anything else is refused when loading."""

_EPOCH = (1980, 1, 1, 0, 0, 0)


def dump(model: Any) -> bytes:
    """The object as a skops file.

    skops names nodes and arrays after memory addresses and stamps the zip with the clock; both are replaced
    (addresses by their order of appearance), so that equal objects give equal bytes and thus one address in
    the registry.
    """
    source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
    schema = json.loads(source.read("schema.json"))
    numbers: dict[int, int] = {}
    files: dict[str, str] = {}
    _renumber(schema, numbers, files)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for old, new in files.items():
            archive.writestr(zipfile.ZipInfo(new, _EPOCH), source.read(old))
        content = json.dumps(schema, separators=(",", ":"), sort_keys=True)
        archive.writestr(zipfile.ZipInfo("schema.json", _EPOCH), content)
    return target.getvalue()


def load(content: bytes) -> Any:
    """The object of a skops file; raises :class:`RegistryError` where it holds a type that we never write."""
    strangers = sorted(set(skops.io.get_untrusted_types(data=content)) - TRUSTED)
    if strangers:
        raise RegistryError(
            f"skops file: found the type {strangers[0]}, expected scikit-learn and NumPy only;"
            " do not load it, train the model again"
        )
    return skops.io.loads(content, trusted=sorted(TRUSTED))


def _renumber(node: Any, numbers: dict[int, int], files: dict[str, str]) -> None:
    if isinstance(node, list):
        for item in node:
            _renumber(item, numbers, files)
        return
    if not isinstance(node, dict):
        return
    address = node.get("__id__")
    if isinstance(address, int):
        if node.get("is_json"):
            # Constants: whether two equal ones share an address is the interpreter's business.
            numbers[-len(numbers) - 1] = node["__id__"] = len(numbers)
        else:
            node["__id__"] = numbers.setdefault(address, len(numbers))
    name = node.get("file")
    if isinstance(name, str):
        suffix = name.rpartition(".")[2]
        node["file"] = files.setdefault(name, f"{len(files)}.{suffix}")
    for _, value in sorted(node.items()):  # attributes come in the order in which they were set
        _renumber(value, numbers, files)
