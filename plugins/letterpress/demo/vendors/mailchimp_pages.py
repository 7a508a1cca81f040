"""How Mailchimp's stand-in tells collections: page by page, and of each item the fields that a query asks for."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any


def instant(text: str) -> datetime:
    """The instant of a text such as 2015-10-21T15:41:36+00:00."""
    return datetime.fromisoformat(text)


def page(
    query: Mapping[str, Any], name: str, found: Sequence[Any], shown: Callable[[Any], dict[str, Any]]
) -> dict[str, Any]:
    """One page of a collection, ten items unless ``count`` says otherwise, with how many there are in all."""
    offset = query.get("offset", 0)
    items = [shown(one) for one in found[offset : offset + query.get("count", 10)]]
    return picked({name: items, "total_items": len(found)}, query)


def picked(body: dict[str, Any], query: Mapping[str, Any]) -> dict[str, Any]:
    """The ``fields`` that a query asks for, without its ``exclude_fields``; dots lead into objects."""
    if "fields" in query:
        body = _only(body, _paths(query["fields"]))
    return _without(body, _paths(query["exclude_fields"])) if "exclude_fields" in query else body


def _paths(text: str) -> list[list[str]]:
    return [name.split(".") for name in text.split(",")]


def _only(node: Any, paths: Sequence[Sequence[str]]) -> Any:
    if isinstance(node, list):
        return [_only(item, paths) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: value if [name] in paths else _only(value, _below(paths, name))
        for name, value in node.items()
        if any(path[0] == name for path in paths)
    }


def _without(node: Any, paths: Sequence[Sequence[str]]) -> Any:
    if isinstance(node, list):
        return [_without(item, paths) for item in node]
    if not isinstance(node, dict):
        return node
    return {name: _without(value, _below(paths, name)) for name, value in node.items() if [name] not in paths}


def _below(paths: Sequence[Sequence[str]], name: str) -> list[Sequence[str]]:
    return [path[1:] for path in paths if path[0] == name and len(path) > 1]
