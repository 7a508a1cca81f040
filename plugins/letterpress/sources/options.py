"""The ``options`` of a source in ``sources.yml``: how its rows are read, where it is not by its module's own way."""

import codecs
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FORMATS = {".csv": "csv", ".jsonl": "json_lines", ".ndjson": "json_lines", ".parquet": "parquet"}


class RestOptions(BaseModel):
    """A REST list endpoint, read by ``rest.py``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: Literal["rest"]


class SqlOptions(BaseModel):
    """Tables or views of a relational database, read by ``sql.py``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: Literal["sql"]
    database_schema: str | None = Field(
        default=None, description="the tables' schema; the connection's own unless given"
    )
    tables: dict[str, str] = Field(default={}, description="entity → table, where the table has another name")


class Dialect(BaseModel):
    """One way to write CSV."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delimiter: str = Field(default=",", min_length=1, max_length=1)
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def unlike(self) -> "Dialect":
        """A comma cannot both end a cell and begin a fraction."""
        if self.delimiter == self.decimal:
            raise ValueError("expected a delimiter that is not the decimal sign")
        return self


class FileOptions(BaseModel):
    """CSV, JSON lines or Parquet files of a folder, read by ``files.py``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reader: Literal["files"]
    pattern: str = Field(description="names of the files, with * and ?; {entity} stands for the entity's name")
    format: Literal["csv", "json_lines", "parquet"] | None = Field(
        default=None, description="by the name's end, if none"
    )
    next_step: str | None = Field(default=None, description="what to do where folder, files or columns are missing")
    encodings: tuple[str, ...] = Field(default=("utf-8-sig",), min_length=1, description="tried in this order")
    dialects: tuple[Dialect, ...] = Field(
        default=(Dialect(),), min_length=1, description="of CSV: the first one under which the header has every column"
    )
    columns: dict[str, str] = Field(default={}, description="header → column, where more than the case differs")
    missing: tuple[str, ...] = Field(default=("",), description="cells of CSV that hold no value")
    trailing_rows: tuple[str, ...] = Field(default=(), description="rows at a CSV file's end that begin so are no data")
    skip_broken_last_line: bool = Field(default=False, description="count and log a half-written last line, go on")

    @field_validator("encodings")
    @classmethod
    def known_encodings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Only what Python can decode."""
        for name in value:
            try:
                codecs.lookup(name)
            except LookupError:
                raise ValueError(f"expected the names of encodings such as utf-8-sig, found {name!r}") from None
        return value

    @model_validator(mode="after")
    def readable(self) -> "FileOptions":
        """Somewhere it has to stand what the files are."""
        if self.format is None and self.kind is None:
            raise ValueError(f"expected a format, or a pattern that ends in one of {', '.join(FORMATS)}")
        return self

    @property
    def kind(self) -> str | None:
        """The format, given or by the pattern's end."""
        return self.format or next((kind for end, kind in FORMATS.items() if self.pattern.endswith(end)), None)


Options = RestOptions | SqlOptions | FileOptions
