"""dbt's ``adapter`` as far as SQLFluff's templater needs it: a macro of many engines renders as DuckDB's."""

from jinja2 import pass_context


@pass_context
def dispatch(context, name, package=None):
    """The macro ``duckdb__<name>``, or else ``default__<name>``."""
    for prefix in ("duckdb", "default"):
        if macro := context.get(f"{prefix}__{name}"):
            return macro
    raise LookupError(
        f"{name}: expected a macro duckdb__{name} or default__{name} in dbt_project/macros, found neither"
    )
