"""Tables as CSV files: RFC 4180, a header always, the same rows as the same bytes."""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from letterpress.activation.configuration import Block

MOST_CHARACTERS = 100_000  # of one value: Python's own reader, and many another, stops at 131,072
GZIP = b"\x1f\x8b"

# What a spreadsheet takes for a formula. A sign before digits alone is a number or a telephone number.
_FORMULA = re.compile(r"'*(?:[=@\t\r]|[+-](?![\d .()/-]*$))")


class _Cleared(str):
    """A value that is gone; a text of its own, so that no value of a person can be it."""

    __slots__ = ()


CLEARED = _Cleared()


class Format(Block):
    """How a file is written.

    Values stand in it exactly as they are: whoever reads a drop is a program, to which an apostrophe before
    ``+49 30 …`` is a wrong telephone number. Where people open the files in a spreadsheet, ``formulas: guard``
    puts an apostrophe before what it would take for a formula; e-mails and ids are never changed.

    A value that is not there is an empty field, unquoted; an empty text, which is a value, is ``""``. ``cleared`` is
    what stands in place of a value that a payload says outright is none (``nulls: write``), for readers that take an
    empty field for "leave what you have".
    """

    delimiter: Literal[",", ";", "\t", "|"] = ","
    quoting: Literal["minimal", "all"] = "minimal"
    encoding: Literal["utf-8", "utf-8-sig", "iso-8859-1", "cp1252"] = "utf-8"
    line_ending: Literal["lf", "crlf"] = "lf"
    compression: Literal["none", "gzip"] = "none"
    formulas: Literal["keep", "guard"] = "keep"
    cleared: str = Field(default="", max_length=20, pattern=r"^[^\s\"',;|]*$", description=r"such as \N or NULL")

    @property
    def suffix(self) -> str:
        """How the name of such a file ends."""
        return ".csv.gz" if self.compression == "gzip" else ".csv"


def fault(form: Format, value: str) -> tuple[str, str] | None:
    """Why a value cannot be written, as code and message without the value; none where it can."""
    if len(value) > MOST_CHARACTERS:
        return "too_long", f"expected at most {MOST_CHARACTERS} characters, found {len(value)}"
    if "\0" in value:
        return "control_character", "expected text, found a NUL character"
    try:
        value.encode(form.encoding)
    except UnicodeEncodeError as error:
        return "not_encodable", f"expected characters of {form.encoding}, found another at position {error.start}"
    return None


def render(form: Format, columns: Sequence[str], rows: Iterable[Sequence[str | None]], *, plain: int = 2) -> bytes:
    """A file's bytes: the header, then the rows. The first ``plain`` columns identify, and are never guarded."""
    special = re.compile(f'[{re.escape(form.delimiter)}"\r\n]|^$|^\\s|\\s$')
    is_quoted, is_guarded = form.quoting == "all", form.formulas == "guard"

    def field(value: str | None) -> str:
        if value is None:
            return ""
        if is_quoted or special.search(value) or value == form.cleared:
            return '"' + value.replace('"', '""') + '"'
        return value

    def line(row: Sequence[str | None]) -> str:
        if is_guarded:
            row = [*row[:plain], *(_guarded(value) for value in row[plain:])]
        return form.delimiter.join([form.cleared if value is CLEARED else field(value) for value in row])

    end = "\r\n" if form.line_ending == "crlf" else "\n"
    return _bytes(form, end.join([form.delimiter.join(map(field, columns)), *map(line, rows), ""]))


def parse(form: Format, content: bytes) -> tuple[list[str], Iterator[list[str | None]]]:
    """The header, and the rows as they are read; an empty or a cleared value is none, a guard is taken off.

    Raises ValueError, without a word of the content, for what is no such table.
    """
    records = _records(form, content)
    header = next(records)[1]
    nothing, is_guarded = ("", form.cleared), form.formulas == "guard"
    return header, (
        [None if value in nothing else _unguarded(value) if is_guarded else value for value in row]
        for _, row in records
    )


def without(form: Format, content: bytes, is_gone: Callable[[Mapping[str, str]], bool]) -> tuple[bytes, int, int]:
    """A file without some of its rows, all others as they were: its bytes, how many rows stay, how many went."""
    records = _records(form, content)
    text, header = next(records)
    kept = [text]
    gone = 0
    for text, row in records:
        if is_gone(dict(zip(header, row, strict=True))):
            gone += 1
        else:
            kept.append(text)
    return _bytes(form, "".join(kept)), len(kept) - 1, gone


def _records(form: Format, content: bytes) -> Iterator[tuple[str, list[str]]]:
    """Header and rows, each as it stands in the file and as its fields."""
    lines = list(io.StringIO(_text(form, content), newline=""))
    reader = csv.reader(lines, delimiter=form.delimiter, strict=True)
    width = start = 0
    try:
        for number, row in enumerate(reader, start=1):
            if row:  # many writers leave an empty line at the end
                width = width or len(row)
                if len(row) != width:
                    raise ValueError(f"row {number}: expected {width} fields, found {len(row)}")
                yield "".join(lines[start : reader.line_num]), row
            start = reader.line_num
    except csv.Error:
        raise ValueError(f"line {reader.line_num}: expected CSV, found a broken row") from None
    if not width:
        raise ValueError("expected a header, found nothing")


def _bytes(form: Format, text: str) -> bytes:
    content = text.encode(form.encoding)
    return gzip.compress(content, mtime=0) if form.compression == "gzip" else content


def _text(form: Format, content: bytes) -> str:
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError):
            raise ValueError("expected a whole gzip file, found a broken one") from None
    try:
        # A byte order mark is nobody's column, whether it was expected or not.
        return content.decode("utf-8-sig" if form.encoding == "utf-8" else form.encoding)
    except UnicodeDecodeError:
        raise ValueError(f"expected text in {form.encoding}, found bytes that are none") from None


def _guarded(value: str | None) -> str | None:
    return value if value is None or not _FORMULA.match(value) else "'" + value


def _unguarded(value: str) -> str:
    return value[1:] if value.startswith("'") and _FORMULA.match(value) else value
