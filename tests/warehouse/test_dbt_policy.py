"""How the dbt project reads: layers, names, keys, contracts and descriptions, checked on its manifest."""

import re

import pytest
from landed_rows import PROJECT, Landing

LAYERS = {
    "staging": re.compile(r"^stg_[a-z0-9_]+__[a-z_]+s$"),
    "intermediate": re.compile(r"^int_[a-z_]+s_[a-z]+(ed|ried)$|^int_[a-z_]+_(summarised|matched)$"),
    "marts": re.compile(r"^(dim|fct|sync)_[a-z_]+$"),
}
PHASES = {"features_phase", "activation_phase", "operations"}


@pytest.fixture(scope="module")
def landing(tmp_path_factory) -> Landing:
    return Landing(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def manifest(landing):
    answer = landing.dbt("parse")
    assert answer.success, answer.exception
    return answer.result


@pytest.fixture(scope="module")
def models(manifest) -> list:
    return [node for node in manifest.nodes.values() if node.resource_type == "model"]


def layer(model) -> str:
    return model.fqn[1]


def test_every_model_is_described_as_one_row_per_something(models):
    assert [model.name for model in models if not model.description.startswith("One row per ")] == []


def test_every_column_of_every_model_is_described(landing, manifest, models):
    assert landing.dbt("build", "--exclude-resource-type", "test", "unit_test").success
    import duckdb

    with duckdb.connect(str(landing.database), read_only=True) as connection:
        rows = connection.execute(
            "select table_schema, table_name, column_name from information_schema.columns"
        ).fetchall()
    built = {}
    for schema, table, column in rows:
        built.setdefault((schema, table), set()).add(column)
    wrong = {}
    for model in models:
        described = {name for name, column in model.columns.items() if column.description}
        if described != built[model.schema, model.alias]:
            wrong[model.name] = sorted(described ^ built[model.schema, model.alias])
    assert wrong == {}


def test_every_model_has_a_tested_key(manifest, models):
    keyed = set()
    for node in manifest.nodes.values():
        test = getattr(node, "test_metadata", None)
        if test is not None and test.name in ("unique", "unique_combination"):
            keyed.add(node.attached_node)
    assert [model.name for model in models if model.unique_id not in keyed] == []


def test_sources_are_read_by_staging_alone_and_layers_flow_forward(manifest, models):
    order = list(LAYERS)
    by_id = {model.unique_id: model for model in models}
    for model in models:
        for parent in model.depends_on.nodes:
            if parent.startswith("source."):
                assert layer(model) == "staging", f"{model.name} reads {parent}"
            elif parent in by_id:
                assert order.index(layer(by_id[parent])) <= order.index(layer(model)), f"{model.name} reads {parent}"


def test_a_model_is_named_after_its_layer(models):
    assert [model.name for model in models if not LAYERS[layer(model)].match(model.name)] == []


def test_staging_models_live_in_the_folder_of_their_source(models):
    for model in models:
        if layer(model) == "staging":
            assert model.name.startswith(f"stg_{model.fqn[2]}__"), model.name


def test_marts_have_enforced_contracts(models):
    marts = [model for model in models if layer(model) == "marts"]
    assert marts
    assert [model.name for model in marts if not model.config.contract.enforced] == []


def test_every_model_belongs_to_one_phase_and_features_never_read_scores(models):
    phases = {model.unique_id: PHASES.intersection(model.tags) for model in models}
    assert [name for name, phase in phases.items() if len(phase) != 1] == []
    for model in models:
        if phases[model.unique_id] == {"features_phase"}:
            for parent in model.depends_on.nodes:
                assert phases.get(parent, {"features_phase"}) == {"features_phase"}, f"{model.name} reads {parent}"


def test_personal_columns_are_tagged_from_staging_on(models):
    personal = {
        "email",
        "sendable_email",
        "normalised_email",
        "email_as_given",
        "first_name",
        "last_name",
        "phone",
        "birth_date",
    }
    for model in models:
        for name in personal & set(model.columns):
            assert model.columns[name].config.meta.get("pii") is True, f"{model.name}.{name}"


def test_models_are_tables_so_that_none_refers_to_landing_files_after_the_build(models):
    assert {model.config.materialized for model in models} == {"table"}


def test_whoever_reads_staging_asks_for_the_disposition(models):
    for model in models:
        read = [parent for parent in model.depends_on.nodes if ".stg_" in parent]
        if layer(model) == "intermediate" and read:
            assert "used(ref(" in model.raw_code or "disposition" in model.raw_code, model.name


def test_models_stay_short(models):
    for model in models:
        lines = model.raw_code.count("\n") + 1
        assert lines <= 120, f"{model.name} has {lines} lines: split it"
        assert model.raw_code.rstrip().endswith("select * from final"), model.name


def test_only_one_macro_reads_parquet_and_none_asks_the_clock():
    for file in PROJECT.rglob("*.sql"):
        if "target" in file.parts:
            continue
        text = re.sub(r"\{#.*?#\}|--[^\n]*", "", file.read_text(), flags=re.S).lower()
        assert "read_parquet" not in text or file.name == "landed.sql", file
        assert not re.search(r"\bnow\(|current_timestamp|current_date|getdate|run_started_at", text), file


def test_a_singular_test_opens_with_its_reason():
    for file in (PROJECT / "tests").glob("*.sql"):
        assert file.name.startswith("assert_")
        body = re.sub(r"\{\{.*?\}\}", "", file.read_text(), count=1).lstrip() if "config(" in file.read_text() else None
        assert (body or file.read_text()).startswith("--"), file.name


def test_the_documentation_is_one_page_that_needs_no_server(landing, manifest):
    answer = landing.dbt("docs", "generate", "--static")
    assert answer.success, answer.exception
    page = (landing.folder / "target" / "static_index.html").read_text()
    assert "One row per person, over all sources, as of one instant." in page


def test_a_missing_variable_says_what_is_expected(landing):
    answer = landing.dbt("run", "--select", "dim_customers", variables={"as_of": None})
    assert not answer.success
    messages = " ".join(str(one.message) for one in answer.result)
    assert "as_of: expected" in messages


@pytest.mark.slow
def test_sql_is_formatted(repository):
    import subprocess
    import sys

    files = [str(file) for file in (PROJECT / "tests").glob("*.sql")]
    command = [sys.executable, "-m", "sqlfluff", "lint", "dbt_project/models", *files]
    answer = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout[-5000:]
