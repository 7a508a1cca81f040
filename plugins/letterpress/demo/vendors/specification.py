"""A vendor's OpenAPI document, for holding a stand-in's requests and answers to it. Needs ``jsonschema-rs``."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

METHODS = ("get", "post", "put", "patch", "delete")


class Specification:
    """Finds the operation of a request, and validates bodies against its schemas."""

    def __init__(self, document: dict[str, Any]):
        import jsonschema_rs

        self._jsonschema = jsonschema_rs
        self.document = _as_json_schema(document)
        base = re.escape(_base_path(document))  # requests come with it, the document's paths are below it
        self._routes = [
            (re.compile(f"^(?:{base})?" + re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path)) + "$"), path)
            for path in sorted(document["paths"], key=lambda path: (path.count("{"), path))
        ]
        self._validators: dict[tuple[str, str, str], Any] = {}

    @classmethod
    def read(cls, path: Path) -> "Specification":
        """The document of a file; the same file is read once in a process."""
        return _read(path)

    def find(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | None:
        """The path template and the operation of a request; none where the document has none."""
        for pattern, template in self._routes:
            operation = self.document["paths"][template].get(method.lower())
            if operation is not None and pattern.match(path):
                return template, operation
        return None

    def request_errors(self, method: str, path: str, body: Any) -> list[str]:
        """What is wrong with a request's body, as the document sees it; an unknown operation is an error."""
        found = self.find(method, path)
        if found is None:
            return [f"{method} {path}: no such operation"]
        template, operation = found
        content = self._resolved(operation.get("requestBody", {})).get("content")
        if not content or body is None:
            required = self._resolved(operation.get("requestBody", {})).get("required", False)
            return ["expected a body, found none"] if required and body is None else []
        return self._errors((method, template, "request"), next(iter(content.values())).get("schema"), body)

    def answer_errors(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """What is wrong with an answer: its status has to be one of the document's, its body fit the schema."""
        found = self.find(method, path)
        if found is None:
            return [f"{method} {path}: no such operation"]
        template, operation = found
        answers = operation["responses"]
        kind = next((name for name in (str(status), f"{status // 100}XX", "default") if name in answers), None)
        if kind is None:
            return [] if status >= 400 else [f"status {status}: expected one of {', '.join(answers)}"]
        content = self._resolved(answers[kind]).get("content")
        if not content or body is None:
            return []
        return self._errors((method, template, kind), next(iter(content.values())).get("schema"), body)

    def _errors(self, key: tuple[str, str, str], schema: Any, body: Any) -> list[str]:
        if schema is None:
            return []
        if key not in self._validators:
            whole = {**schema, "components": self.document.get("components", {})}
            self._validators[key] = self._jsonschema.Draft202012Validator(whole)
        return [
            f"{'/'.join(map(str, error.instance_path)) or 'body'}: {error.message}"
            for error in self._validators[key].iter_errors(body)
        ]

    def _resolved(self, node: Any) -> Any:
        while isinstance(node, Mapping) and "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node


def _base_path(document: Mapping[str, Any]) -> str:
    """What stands before every path: ``/3.0`` where the server is ``https://server.api.example.com/3.0``."""
    servers = document.get("servers") or [{"url": ""}]
    return urlsplit(servers[0]["url"]).path.rstrip("/")


@cache
def _read(path: Path) -> Specification:
    return Specification(json.loads(path.read_text(encoding="utf-8")))


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0's ``nullable`` as JSON Schema says it; the rest is JSON Schema already."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {name: _as_json_schema(value) for name, value in node.items() if name != "nullable"}
    if node.get("nullable") is not True:
        return found
    if isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if "enum" in found and None not in found["enum"]:
            found["enum"] = [*found["enum"], None]
        return found
    return {"anyOf": [found, {"type": "null"}]}
