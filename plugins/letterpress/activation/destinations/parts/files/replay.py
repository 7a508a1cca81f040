"""What a receiver that has read a whole drop in its order holds of some people: to compare with the ledger."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from letterpress.activation.destinations.parts.files.folders import NAME
from letterpress.activation.destinations.parts.files.manifests import Files
from letterpress.activation.destinations.spec import DestinationError, Held, Operation


@dataclass
class _Receiver:
    """Profiles, lists and suppressions of the wanted people, file by file."""

    profiles: dict[str, Mapping[str, str | None]] = field(default_factory=dict)
    lists: dict[str, set[str]] = field(default_factory=dict)
    suppressed: set[str] = field(default_factory=set)

    def take(self, operation: str, row: Mapping[str, str | None], list_id: str | None) -> None:
        """One row of a file."""
        person = row["external_id"] or ""
        match operation:
            case Operation.UPSERT:
                self.profiles[person] = row
            case Operation.SUPPRESS:
                self.suppressed.add(person)
            case Operation.SUBSCRIBE:
                self.suppressed.discard(person)
            case Operation.JOIN:
                self.lists.setdefault(person, set()).add(list_id or "")
            case Operation.LEAVE:
                self.lists.get(person, set()).discard(list_id or "")
            case Operation.MOVE:
                self._move(person, row["moves_to"] or "")
            case Operation.DELETE | Operation.ERASE:
                self.profiles.pop(person, None)
                self.lists.pop(person, None)
                if operation == Operation.ERASE:
                    self.suppressed.discard(person)

    def _move(self, person: str, to: str) -> None:
        """A surviving profile stays as it is; lists and suppressions come together."""
        if profile := self.profiles.pop(person, None):
            self.profiles.setdefault(to, profile)
        if lists := self.lists.pop(person, None):
            self.lists.setdefault(to, set()).update(lists)
        if person in self.suppressed:
            self.suppressed.remove(person)
            self.suppressed.add(to)


def held(files: Files, ids: Collection[str], attributes: Sequence[str]) -> list[Held]:
    """What the drop says of these people; memory is theirs alone, time that of reading all of the drop once.

    Raises :class:`DestinationError` where the receiving side has taken files away: nobody can tell from the rest.
    """
    wanted, receiver = files.former(ids), _Receiver()
    for manifest in files.manifests():
        rows = files.rows(manifest)
        if rows is None:
            raise DestinationError(
                f"{NAME}: expected every file that has a manifest, found that {manifest.file} was taken away: what the "
                "receiving side holds cannot be told from this drop; compare there, or keep the files"
            )
        for row in rows:
            if row["external_id"] in wanted:
                receiver.take(manifest.operation, row, manifest.list)
    return [
        Held(
            customer_id=person,
            email=profile["email"],
            attributes={name: profile.get(name) for name in attributes},
            lists=frozenset(receiver.lists.get(person, ())),
            is_suppressed=person in receiver.suppressed,
        )
        for person in ids
        if (profile := receiver.profiles.get(person)) is not None
    ]
