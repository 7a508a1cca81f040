"""Reading YAML configuration: an error names the file, the line, the field and the nearest known name."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from letterpress.yaml_loader import LOADER


class ConfigurationError(Exception):
    """A block that cannot be used, with the file, the line, the field and the remedy."""


class Block(BaseModel):
    """A frozen piece of configuration that refuses what it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


B = TypeVar("B", bound=Block)
_NAMED = re.compile(r"Value error, (?P<field>[a-z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*): ")


def read_blocks(path: Path, block: type[B]) -> dict[str, B]:
    """Every top-level block of a file, by name; raises :class:`ConfigurationError` for the first problems."""
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=LOADER)
        content = yaml.load(text, Loader=LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path.name}{line}: expected YAML, found {error.__class__.__name__}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path.name}: expected one block a name, found {type(content).__name__}")
    blocks = {}
    for name, fields in content.items():
        if not isinstance(fields, dict):
            raise ConfigurationError(
                f"{path.name}, line {_line(node, (name,))}: {name}: expected fields, found {fields!r}"
            )
        try:
            blocks[name] = block(name=name, **fields)
        except ValidationError as error:
            problems = [_explain(path, node, name, block, problem) for problem in error.errors()]
            raise ConfigurationError("\n".join(problems)) from None
    return blocks


def line_of(path: Path, *location: str) -> int:
    """The line of a field in a file, or of the deepest part of it that is there."""
    return _line(yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER), location)


def nearest(name: str, known: Sequence[str]) -> str:
    """The hint at the end of an error about an unknown name."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def _explain(path: Path, node: Any, name: str, block: type[Block], problem: Any) -> str:
    location = (name, *(str(part) for part in problem["loc"] if part != "[key]"))
    named = _NAMED.match(problem["msg"]) if problem["type"] == "value_error" else None
    if named:  # a check of the whole block names its field at the beginning
        location = (*location, *named["field"].split("."))
        problem = {**problem, "msg": problem["msg"][named.end() :]}
    where = f"{path.name}, line {_line(node, location)}: {'.'.join(location)}"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown field; {nearest(location[-1], _fields(block, problem['loc'][:-1]))}"
    if problem["type"] == "missing":
        return f"{where}: expected a value, found none"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"


def _fields(block: type[Block], location: Sequence[Any]) -> list[str]:
    """The names known at a place of the configuration."""
    model: Any = block
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[part].annotation
        else:
            model = model.__args__[-1]  # dict[str, X]: any key leads to X
    if isinstance(model, type) and issubclass(model, BaseModel):
        return [name for name in model.model_fields if name != "name"]
    return []


def _line(node: Any, location: Sequence[str]) -> int:
    """The line of a field, or of the deepest part of it that is there."""
    line = node.start_mark.line + 1
    for part in location:
        for key, value in getattr(node, "value", ()) if isinstance(node, yaml.MappingNode) else ():
            if key.value == str(part):
                line, node = key.start_mark.line + 1, value
                break
        else:
            break
    return line
