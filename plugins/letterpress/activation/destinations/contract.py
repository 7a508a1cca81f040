"""The audience marts' contracts, read from dbt's own file: which columns there are, and of which type."""

from functools import cache
from pathlib import Path

from letterpress.settings import REPOSITORY
from letterpress.yaml_loader import LOADER

FILE = REPOSITORY / "dbt_project" / "models" / "marts" / "sync" / "_sync__models.yml"
SCHEMA = "activation"

# Who may be written to, and why not: these decide and never leave themselves.
GATE = ("email_consent_status", "consent_proof", "consent_changed_at", "is_eligible", "refusal_reason")
IDENTIFIERS = ("customer_id", "email")
METADATA = ("as_of",)  # it differs at every build: whoever was sent it would be written to every day


@cache
def audiences(path: Path = FILE) -> dict[str, dict[str, str]]:
    """By table, as ``schema.table``: the columns that a field map may name, and those of the gate, with their types."""
    import yaml

    content = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    return {
        f"{SCHEMA}.{model['name']}": {
            column["name"]: column["data_type"].lower()
            for column in model["columns"]
            if column["name"] not in (*IDENTIFIERS, *METADATA)
        }
        for model in content["models"]
    }
