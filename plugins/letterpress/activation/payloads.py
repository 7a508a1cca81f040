"""Profiles as JSON in a vendor's shape: what differs between two, and what has to be sent of one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from letterpress.activation.destinations import Destination

Path = tuple[str, ...]
SHORT = 3  # letters: a shorter value tells nothing, and stands in too many words


def differing(destination: Destination, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[list[str]]:
    """The names, as the field map has them, of what differs in each pair of profiles; ``email`` among them."""
    shape = destination.shape
    ignored = {_path(shape.external_id), *(_path(path) for path in shape.constants)}
    names = {**_names(destination), _path(shape.email): "email"}
    for before, after in pairs:
        old, new = dict(_leaves(orjson.loads(before))), dict(_leaves(orjson.loads(after)))
        yield sorted(
            names.get(path, path[-1])
            for path in old.keys() | new.keys()
            if not _is_same(old.get(path, shape.cleared), new.get(path, shape.cleared)) and path not in ignored
        )


def values(destination: Destination, payload: bytes) -> dict[str, Any]:
    """The attributes of a profile by the field map's names; one that is not there is none."""
    leaves = dict(_leaves(orjson.loads(payload)))
    return {name: leaves.get(path) for path, name in _names(destination).items()}


def email_of(destination: Destination, payload: bytes) -> str | None:
    """The address in a profile."""
    return dict(_leaves(orjson.loads(payload))).get(_path(destination.shape.email))


def addressed(destination: Destination, email: str | None) -> bytes:
    """A profile of which nothing but the address is known."""
    return _nested(destination.shape.attributes, {_path(destination.shape.email): email})


def without_values(message: str, email: str | None, payload: bytes | None) -> str:
    """A vendor's message about a person without that person's own values."""
    own = [value for _, value in _leaves(orjson.loads(payload))] if payload else []
    texts = {one for value in own for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)}
    for value in sorted((one for one in (*texts, email or "") if len(one) >= SHORT), key=len, reverse=True):
        message = message.replace(value, "…")
    return message


def update(
    destination: Destination,
    wanted: bytes,
    acknowledged: bytes | None,
    pending: Sequence[bytes] = (),
    *,
    is_certain: bool = True,
) -> tuple[bytes, bytes]:
    """What to send of a wanted profile, and what the destination then holds.

    A vendor that merges gets what changed, and the value that empties an attribute which it holds and the person
    no longer has (unless its rule is ``skip``), or which is no longer in the field map. ``pending`` are profiles
    that it may hold instead, because their answers were lost. Where it is not certain what the vendor holds, it gets
    everything, and what is emptied stays in the profile as empty: should this answer be lost too, it is emptied
    again. A vendor that replaces gets everything at once, with what ``skip`` lets it keep.
    """
    shape = destination.shape
    held = [dict(_leaves(orjson.loads(one))) for one in (acknowledged, *pending) if one is not None]
    if not held:
        return wanted, wanted
    is_certain = is_certain and not pending
    new = dict(_leaves(orjson.loads(wanted)))
    always = {_path(shape.external_id), *(_path(path) for path in shape.constants)}
    if shape.is_email_key:
        always.add(_path(shape.email))
    gets_everything = not (is_certain and shape.merges)
    sent = {
        path: value
        for path, value in new.items()
        if path in always or gets_everything or path not in held[0] or not _is_same(held[0][path], value)
    }
    rules = {path: destination.attributes[column].nulls for column, path in _columns(destination).items()}
    gone = {path for one in held for path in one}
    if not is_certain and not pending:  # somebody else wrote there: also what we never did
        gone |= {path for path, rule in rules.items() if rule == "clear"}
    for path in gone - new.keys() - {_path(shape.email)}:
        before = [one[path] for one in reversed(held) if path in one]
        is_empty = all(value == shape.cleared for value in before) and is_certain
        if rules.get(path) == "skip":
            if before[0] != shape.cleared or (shape.merges and not is_empty):
                new[path] = before[0]
                sent |= {path: before[0]} if gets_everything else {}
        elif shape.merges and not is_empty:
            sent[path] = shape.cleared
            new |= {} if is_certain else {path: shape.cleared}
    return _nested(shape.attributes, sent), _nested(shape.attributes, new)


def cleared(
    destination: Destination,
    customer_id: str,
    acknowledged: bytes | None,
    pending: Sequence[bytes] = (),
    *,
    is_certain: bool = True,
) -> bytes:
    """A profile that empties every attribute which the destination holds, for somebody who left the audience.

    Where it is not certain what it holds, the attributes of the field map are emptied, too.
    """
    shape = destination.shape
    held: dict[Path, Any] = {}
    for one in (*([] if acknowledged is None else [acknowledged]), *pending):
        held |= _leaves(orjson.loads(one))
    sent: dict[Path, Any] = {_path(path): value for path, value in shape.constants.items()}
    sent[_path(shape.external_id)] = customer_id
    kept = {*sent, _path(shape.email)}
    if shape.is_email_key or not shape.merges:
        sent[_path(shape.email)] = held.get(_path(shape.email))
    if shape.merges:
        emptied = {*held} if is_certain else {*held, *_columns(destination).values()}
        sent |= dict.fromkeys(emptied - kept, shape.cleared)
    return _nested(shape.attributes, sent)


def _is_same(one: Any, other: Any) -> bool:
    """Equal, and of one kind: in Python 1 is True."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _path(path: str) -> Path:
    return tuple(path.split("."))


def _columns(destination: Destination) -> dict[str, Path]:
    return {column: destination.shape.path_of(mapped.attribute) for column, mapped in destination.attributes.items()}


def _names(destination: Destination) -> dict[Path, str]:
    return {destination.shape.path_of(mapped.attribute): mapped.attribute for mapped in destination.attributes.values()}


def _leaves(content: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is no object, with the keys that lead to it."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key), value


def _nested(attributes: str, leaves: Mapping[Path, Any]) -> bytes:
    """The object that has these values; the one of the attributes is there even where it is empty."""
    content: dict[str, Any] = {}
    for path, value in [*leaves.items(), *([(_path(attributes), {})] if attributes else [])]:
        inner = content
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner.setdefault(path[-1], value)
    return orjson.dumps(content)
