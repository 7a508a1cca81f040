"""The macros of rule segments as SQL without dbt, which takes seconds to start: Jinja with what they ask dbt for."""

import json
from functools import cache
from typing import Any

import jinja2
from landed_rows import PROJECT

DISPATCHED = ("shared_bits", "double", "subquery")


class Refused(Exception):
    """What dbt raises as a compiler error."""


def segments_sql(segments: list[dict[str, Any]], relation: str, columns: list[str]) -> str:
    """``rule_segments(relation)`` for these segments, where the relation has these columns."""
    return _macros(segments, columns).rule_segments(relation)


def listed_sql(segments: list[dict[str, Any]]) -> str:
    """``rule_segments_listed()`` for these segments."""
    return _macros(segments, []).rule_segments_listed()


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(extensions=["jinja2.ext.do"])
    folder = PROJECT / "macros"
    files = [*sorted(folder.glob("rule_*.sql")), *(folder / f"{name}.sql" for name in DISPATCHED)]
    return environment.from_string("\n".join(file.read_text() for file in files))


def _macros(segments: list[dict[str, Any]], columns: list[str]) -> Any:
    def refuse(message: str) -> None:
        raise Refused(message)

    def dispatch(macro: str, package: str):
        return lambda *arguments: getattr(module, f"default__{macro}")(*arguments)

    measures = {"model.letterpress.fct_customer_measures": {"columns": dict.fromkeys(columns)}}
    module = _template().make_module(
        {
            "var": {"rule_segments": segments}.__getitem__,
            "exceptions": {"raise_compiler_error": refuse},
            "adapter": {"dispatch": dispatch},
            "execute": True,
            "graph": {"nodes": measures},
            "tojson": json.dumps,
        }
    )
    return module
