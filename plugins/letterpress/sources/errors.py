"""What can go wrong between a source and landing. Messages name places and types, never a row's values."""


class SourceError(Exception):
    """An extraction stopped and landed nothing; every kind says source, expected, found and the next step."""


class SourceUnavailable(SourceError):
    """The source did not answer, or answered something unusable, as often as it was asked: worth another try later."""


class SourceRefused(SourceError):
    """The source answered that we may not or cannot ask this: a repeat does not help, the connection must change."""


class SourceBusy(SourceError):
    """Another extraction of the same source did not end within the waiting time."""


class LoadSuperseded(SourceError):
    """The load was extracted from a cursor that another load of its source has moved since."""


class SchemaChanged(SourceError):
    """A column holds another type than declared or recorded, or a required one is empty."""

    source: str = ""
    entity: str = ""
    column: str = ""
    expected: str = ""
    found: str = ""
    position: str = ""

    @classmethod
    def at(cls, source: str, entity: str, column: str, *, expected: str, found: str, position: str) -> "SchemaChanged":
        """The error of one column; ``position`` is where the first example stands, not what it is."""
        error = cls(
            f"{source}.{entity}.{column}: expected {expected}, found {found}, first at {position}; nothing of "
            f"{source} landed. Next step: have the source put right, or declare the new type in the module of "
            f"{source} and in its staging model, then run ingest_{source} again"
        )
        error.source, error.entity, error.column = source, entity, column
        error.expected, error.found, error.position = expected, found, position
        return error
