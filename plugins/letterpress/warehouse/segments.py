"""Rule segments as configuration: read and checked before dbt runs, and explained for one person.

``rule_segments`` in ``dbt_project.yml`` is the configuration, the described columns of ``fct_customer_measures`` are
what a rule may ask for, and dbt's macros ``rule_segments`` and ``rule_predicate`` turn rules into SQL. This module
refuses with file, line and the nearest known name what dbt would refuse without, and evaluates a rule over one row of
measures as the SQL does, condition by condition.
"""

import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from letterpress.settings import REPOSITORY
from letterpress.yaml_loader import LOADER

PROJECT_FILE = "dbt_project.yml"
MEASURES = "fct_customer_measures"
MEASURES_FILE = Path("models/marts/segments/_marts_segments__models.yml")
RFM_FILE = Path("seeds/rfm_segments.csv")
CAMPAIGNS = REPOSITORY / "plugins" / "letterpress" / "activation" / "campaigns.yml"

# What no rule can ask for: who and when.
NOT_MEASURED = ("customer_id", "as_of")
GROUPS = ("all", "any", "not")
ABOUT = ("key", "name", "description")
# Operator → the types of columns that it can ask.
OPERATORS = {
    "at_least": ("number",),
    "at_most": ("number",),
    "more_than": ("number",),
    "less_than": ("number",),
    "equals": ("number", "text", "boolean"),
    "one_of": ("number", "text"),
    "is_missing": ("number", "text", "boolean"),
}
TYPES = {"bigint": "number", "double": "number", "varchar": "text", "boolean": "boolean"}
KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")


class SegmentsError(ValueError):
    """Rules that cannot be evaluated; every problem with file, line, what was found and the nearest known name."""


@dataclass(frozen=True)
class Condition:
    """One question about one column."""

    column: str
    operator: str
    value: Any
    or_missing: bool = False

    def explain(self, measures: Mapping[str, Any]) -> "Answer":
        """Ask it of one person's measures, a mapping of column to value."""
        found = measures[self.column]
        missing = found is None or (isinstance(found, float) and math.isnan(found))
        found = None if missing else found
        if self.operator == "is_missing":
            met = missing is bool(self.value)
        elif missing:
            met = self.or_missing
        else:
            met = _compare(self.operator, found, self.value)
        return Answer("condition", met, condition=self, found=found)


@dataclass(frozen=True)
class Group:
    """Predicates under ``all``, ``any`` or ``not``."""

    kind: str
    parts: tuple["Condition | Group", ...]

    def explain(self, measures: Mapping[str, Any]) -> "Answer":
        """Ask every part, met or not, of one person's measures."""
        answers = tuple(part.explain(measures) for part in self.parts)
        met = [answer.is_met for answer in answers]
        return Answer(self.kind, {"all": all(met), "any": any(met), "not": not met[0]}[self.kind], parts=answers)


@dataclass(frozen=True)
class Answer:
    """What a predicate said of one person: a condition with the value that it found, or a group of answers."""

    kind: str
    is_met: bool
    condition: Condition | None = None
    found: Any = None
    parts: tuple["Answer", ...] = ()

    def conditions(self) -> Iterator["Answer"]:
        """The answers of the conditions, in the order of the rule."""
        if self.condition is not None:
            yield self
        for part in self.parts:
            yield from part.conditions()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The answer as indented lines: ``met  days_since_last_order less_than 30: found 12``."""
        mark = "met    " if self.is_met else "not met"
        if self.condition is None:
            yield f"{'  ' * depth}{mark}  {self.kind}"
        else:
            asked = self.condition
            unless = ", or missing" if asked.or_missing else ""
            found = "nothing" if self.found is None else _shown(self.found)
            yield (
                f"{'  ' * depth}{mark}  {asked.column} {asked.operator} {_shown(asked.value)}{unless}: found {found}"
            )
        for part in self.parts:
            yield from part.lines(depth + 1)

    def to_json(self) -> dict[str, Any]:
        """For an API: nested as the rule is."""
        if self.condition is None:
            return {"kind": self.kind, "is_met": self.is_met, "parts": [part.to_json() for part in self.parts]}
        return {
            "kind": self.kind,
            "is_met": self.is_met,
            "column": self.condition.column,
            "operator": self.condition.operator,
            "threshold": self.condition.value,
            "or_missing": self.condition.or_missing,
            "value": self.found,
        }


@dataclass(frozen=True)
class Segment:
    """One entry of ``rule_segments``."""

    key: str
    name: str
    rule: Group
    description: str | None = None

    def explain(self, measures: Mapping[str, Any]) -> Answer:
        """Whether a person is in the segment, and why: one row of ``fct_customer_measures`` as a mapping."""
        return self.rule.explain(measures)


def explain(segments: Iterable[Segment], measures: Mapping[str, Any]) -> dict[str, Answer]:
    """Every segment's answer for one person, by key; the same members as the SQL of the warehouse."""
    return {segment.key: segment.explain(measures) for segment in segments}


def read(project: Path) -> tuple[Segment, ...]:
    """The rule segments of a dbt project. Raises ``SegmentsError`` with every problem that they have."""
    return _Reader(Path(project)).segments()


def published(rows: Iterable[Mapping[str, Any]]) -> tuple[Segment, ...]:
    """The rule segments that a published version was built with: rows of its ``marts.dim_segments``."""
    return tuple(
        Segment(row["segment_key"], row["segment_name"], _rule(json.loads(row["rule_definition"])), row["description"])
        for row in rows
        if row["segment_kind"] == "rule"
    )


def check(project: Path, campaigns: Path | None = CAMPAIGNS) -> tuple[str, ...]:
    """The keys of every segment, once all rules can be evaluated and each campaign names one of them.

    Raises ``SegmentsError`` that lists each problem: file, line, what was found and the nearest known name.
    """
    reader = _Reader(Path(project))
    known = [segment.key for segment in reader.segments()] + sorted(reader.rfm)
    problems = list(_unknown_references(campaigns, known)) if campaigns is not None and campaigns.exists() else []
    if problems:
        raise SegmentsError("\n".join(problems))
    return tuple(known)


def measured(project: Path) -> dict[str, str]:
    """The columns that a rule may ask for and their types (number, text or boolean), from the model's description."""
    file = Path(project) / MEASURES_FILE
    for model in yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER)["models"]:
        if model["name"] == MEASURES:
            types = {column["name"]: TYPES.get(column["data_type"]) for column in model["columns"]}
            return {name: kind for name, kind in types.items() if kind and name not in NOT_MEASURED}
    raise SegmentsError(f"{file.name}: expected the model {MEASURES}, found none")


def _compare(operator: str, found: Any, wanted: Any) -> bool:
    if operator == "one_of":
        return any(_compare("equals", found, one) for one in wanted)
    comparisons = {
        "at_least": lambda: found >= wanted,
        "at_most": lambda: found <= wanted,
        "more_than": lambda: found > wanted,
        "less_than": lambda: found < wanted,
        "equals": lambda: found == wanted,
    }
    return bool(comparisons[operator]())


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and abs(value) < 1e6 else str(value)


def _rule(plain: Mapping[str, Any]) -> "Condition | Group":
    """A predicate that is known to be right."""
    if "column" in plain:
        (operator,) = set(plain) - {"column", "or_missing"}
        return Condition(plain["column"], operator, plain[operator], bool(plain.get("or_missing", False)))
    ((kind, parts),) = plain.items()
    return Group(kind, tuple(_rule(part) for part in (parts if kind != "not" else [parts])))


def _kind(value: Any) -> str | None:
    """number, text or boolean; none of them where no column can hold it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return "number"
    return "text" if isinstance(value, str) else None


def _nearest(name: Any, known: Sequence[str]) -> str:
    close = get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def _unknown_references(file: Path, known: Sequence[str]) -> Iterator[str]:
    """Blocks of a file whose ``segment`` is none that there is."""
    node = yaml.compose(file.read_text(encoding="utf-8"), Loader=LOADER)
    for name, block in node.value if isinstance(node, yaml.MappingNode) else ():
        for key, value in block.value if isinstance(block, yaml.MappingNode) else ():
            if key.value == "segment" and value.value not in known:
                yield (
                    f"{file.name}, line {value.start_mark.line + 1}: {name.value}: expected a segment, found "
                    f"{value.value!r}; {_nearest(value.value, known)}"
                )


@dataclass
class _Reader:
    """Reads the rules of one project node by node, and collects what is wrong with them."""

    project: Path
    problems: list[str] = field(default_factory=list)

    def __post_init__(self):
        self.file = self.project / PROJECT_FILE
        self.columns = measured(self.project)
        self.rfm = self._rfm()

    def segments(self) -> tuple[Segment, ...]:
        """Every segment, or the error that lists all problems."""
        node = self._under(self._under(self._document(), "vars"), "rule_segments")
        if node is None or not isinstance(node, yaml.SequenceNode):
            raise SegmentsError(f"{self.file.name}: expected a list vars.rule_segments, found none")
        lines: dict[str, int] = {}
        found = [self._segment(one, lines) for one in node.value]
        if self.problems:
            raise SegmentsError("\n".join(self.problems))
        return tuple(segment for segment in found if segment is not None)

    def _document(self) -> Any:
        try:
            return yaml.compose(self.file.read_text(encoding="utf-8"), Loader=LOADER)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            raise SegmentsError(f"{self.file.name}{line}: expected YAML, found {error.__class__.__name__}") from None

    def _rfm(self) -> set[str]:
        with open(self.project / RFM_FILE, newline="", encoding="utf-8") as file:
            return {row["segment_key"] for row in csv.DictReader(file)}

    @staticmethod
    def _under(node: Any, name: str) -> Any:
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        return next((value for key, value in pairs if key.value == name), None)

    def _refuse(self, node: Any, what: str, segment: str | None = None) -> None:
        named = f"{segment}: " if segment else ""
        self.problems.append(f"{self.file.name}, line {node.start_mark.line + 1}: {named}{what}")

    def _fields(self, node: Any, segment: str | None) -> dict[str, Any] | None:
        """A mapping's fields by name; refuses what is none, and a field that stands there twice."""
        if not isinstance(node, yaml.MappingNode):
            self._refuse(node, f"expected fields, found {_plain(node)!r}", segment)
            return None
        fields: dict[str, Any] = {}
        for key, value in node.value:
            if key.value in fields:
                self._refuse(key, f"expected {key.value!r} once, found it again", segment)
            fields[key.value] = value
        return fields

    def _segment(self, node: Any, lines: dict[str, int]) -> Segment | None:
        fields = self._fields(node, None)
        if fields is None:
            return None
        key, name = (_plain(fields[part]) if part in fields else None for part in ("key", "name"))
        if not isinstance(key, str) or not KEY.fullmatch(key):
            self._refuse(fields.get("key", node), f"expected a key in snake_case, found {key!r}")
        elif key in self.rfm:
            self._refuse(fields["key"], f"expected a key that no RFM segment has, found {key!r} in {RFM_FILE.name}")
        elif key in lines:
            self._refuse(fields["key"], f"expected each key once, found {key!r} as in line {lines[key]}")
        else:
            lines[key] = fields["key"].start_mark.line + 1
        for part in ("name", "description"):
            if (part in fields or part == "name") and not isinstance(_plain(fields.get(part)), str):
                self._refuse(fields.get(part, node), f"expected a {part}, found {_plain(fields.get(part))!r}", key)
        rules = [one for one in fields if one not in ABOUT]
        for unknown in [one for one in rules if one not in GROUPS]:
            hint = _nearest(unknown, (*GROUPS, *ABOUT))
            self._refuse(fields[unknown], f"expected one of all, any, not, found {unknown!r}; {hint}", key)
        if len(rules) != 1:
            self._refuse(node, f"expected one of all, any, not, found {', '.join(rules) or 'none'}", key)
        if len(rules) != 1 or rules[0] not in GROUPS:
            return None
        rule = self._group(rules[0], fields[rules[0]], key)
        return None if rule is None else Segment(key, name, rule, _plain(fields.get("description")))

    def _group(self, kind: str, node: Any, segment: str) -> Group | None:
        if kind == "not":
            parts = [self._predicate(node, segment)]
        elif not isinstance(node, yaml.SequenceNode) or not node.value:
            self._refuse(node, f"expected a list of predicates under {kind}, found {_plain(node)!r}", segment)
            return None
        else:
            parts = [self._predicate(one, segment) for one in node.value]
        return None if None in parts else Group(kind, tuple(parts))

    def _predicate(self, node: Any, segment: str) -> Condition | Group | None:
        fields = self._fields(node, segment)
        if fields is None:
            return None
        if "column" in fields:
            return self._condition(node, fields, segment)
        names = list(fields)
        if len(names) != 1 or names[0] not in GROUPS:
            found = ", ".join(names) or "nothing"
            hint = f"; {_nearest(names[0], ('column', *GROUPS))}" if len(names) == 1 else ""
            self._refuse(node, f"expected a column with an operator, or one of all, any, not, found {found}{hint}",
                         segment)  # fmt: skip
            return None
        return self._group(names[0], fields[names[0]], segment)

    def _condition(self, node: Any, fields: dict[str, Any], segment: str) -> Condition | None:
        before = len(self.problems)
        column = _plain(fields["column"])
        if column not in self.columns:
            hint = _nearest(column, list(self.columns))
            self._refuse(fields["column"], f"expected a column of {MEASURES}, found {column!r}; {hint}", segment)
        operators = [one for one in fields if one not in ("column", "or_missing")]
        for unknown in [one for one in operators if one not in OPERATORS]:
            hint = _nearest(unknown, list(OPERATORS))
            self._refuse(fields[unknown], f"expected an operator for {column}, found {unknown!r}; {hint}", segment)
        if len(operators) != 1:
            found = ", ".join(operators) or "none"
            self._refuse(node, f"expected one operator for {column}, found {found}; "
                         f"known: {', '.join(OPERATORS)}", segment)  # fmt: skip
        if "or_missing" in fields and not isinstance(_plain(fields["or_missing"]), bool):
            self._refuse(fields["or_missing"], f"expected true or false for or_missing, found "
                         f"{_plain(fields['or_missing'])!r}", segment)  # fmt: skip
        if len(self.problems) == before:
            self._compared(column, operators[0], fields[operators[0]], segment)
        if len(self.problems) > before:
            return None
        missing = bool(_plain(fields["or_missing"])) if "or_missing" in fields else False
        return Condition(column, operators[0], _plain(fields[operators[0]]), missing)

    def _compared(self, column: str, operator: str, node: Any, segment: str) -> None:
        """Refuse a value that the column cannot be compared with."""
        kind, value = self.columns[column], _plain(node)
        if kind not in OPERATORS[operator]:
            allowed = ", ".join(name for name, kinds in OPERATORS.items() if kind in kinds)
            self._refuse(node, f"expected one of {allowed} for {column}, a {kind}, found {operator!r}", segment)
        elif operator == "is_missing":
            if not isinstance(value, bool):
                self._refuse(node, f"expected true or false for is_missing, found {value!r}", segment)
        elif operator == "one_of":
            if not isinstance(value, list) or not value or any(_kind(one) != kind for one in value):
                self._refuse(node, f"expected a list of values that are each a {kind} for {column}, found {value!r}",
                             segment)  # fmt: skip
        elif _kind(value) != kind:
            self._refuse(node, f"expected a {kind} for {column}, found {value!r}", segment)


def _plain(node: Any) -> Any:
    """What a node means; None where there is none."""
    if node is None:
        return None
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.YAMLError:
        return str(node.value)
    finally:
        loader.dispose()


def main() -> int:
    """What ``make lint`` calls: 1 with every problem where the rules or a campaign's segment are wrong."""
    try:
        check(REPOSITORY / "dbt_project")
    except SegmentsError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
