"""How the dbt project reads: layers, names, keys, contracts and descriptions, checked on its manifest."""

import re
from pathlib import Path

import pytest
import yaml
from landed_rows import PROJECT, WITHOUT_TESTS, Landing

from letterpress.warehouse import build

LAYERS = {
    "staging": re.compile(r"^(stg|base)_[a-z0-9_]+__[a-z_]+s$"),
    "intermediate": re.compile(r"^int_[a-z_]+s_[a-z]+(ed|ried)$|^int_[a-z_]+_(summarised|matched)$"),
    "marts": re.compile(r"^(dim|fct|sync)_[a-z_]+$"),
}
# They find the models that they read in dbt's graph, by what those declare (macro reconciled_entities).
FOUND_IN_THE_GRAPH = {"stg_landing__row_counts", "int_rows_quarantined", "int_events_quarantined", "int_rows_disposed"}
# (parent, the model between, the only reader of both): why it is no needless step.
REJOINED = {
    (
        "fct_customer_rfm",
        "dim_customer_segments",
        "sync_customers",
    ): "a mart that people read, of all kinds of segments",
    (
        "int_customers_profiled",
        "int_replacements_computed",
        "fct_customer_features",
    ): "one row per column, not per person",
    ("int_decisions_collected", "int_decisions_compared", "fct_consent_changes"): "each change beside what it followed",
    ("int_email_decisions_collected", "int_unsubscribes_lifted", "int_suppressions_collected"): "a rule of its own",
    ("int_identifiers_touched", "int_unsubscribes_lifted", "int_suppressions_collected"): "a rule of its own",
    ("int_identifiers_resolved", "int_journey_rows_refused", "int_rows_refused"): "each source judges its own rows",
    ("int_order_lines_unified", "int_categories_ranked", "int_assortments_summarised"): "ranks are not sums",
    (
        "stg_crm__customers",
        "int_order_identifiers_collected",
        "int_identifiers_collected",
    ): "orders add what is unknown",
    **{
        (events, "int_webhook_events_repeated", "int_email_events_unified"): "found once for every reader of a view"
        for events in (
            *(f"stg_{esp}__events" for esp in ("local_esp", "klaviyo", "mailchimp", "hubspot", "braze")),
            "stg_webhooks__events",
        )
    },
    ("web.events", "base_web__event_copies", "stg_web__events"): "a view, of which what repeats is found once",
    ("stg_online_retail__invoice_lines", "int_credits_matched", "int_invoices_summarised"): "lines matched with lines",
}
PHASES = {"features_phase", "activation_phase", "operations"}


@pytest.fixture(scope="module")
def landing(tmp_path_factory) -> Landing:
    return Landing(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def manifest(landing):
    return landing.manifest()


@pytest.fixture(scope="module")
def models(manifest) -> list:
    return [node for node in manifest.nodes.values() if node.resource_type == "model"]


def layer(model) -> str:
    return model.fqn[1]


def test_every_model_is_described_as_one_row_per_something(models):
    assert [model.name for model in models if not model.description.startswith("One row per ")] == []


def test_every_column_of_every_model_is_described(landing, manifest, models):
    assert landing.dbt("build", *WITHOUT_TESTS).success
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
    """dbt-project-evaluator's definition: a column that is unique and not null, or a combination without nulls."""
    unique, filled, combined = set(), set(), set()
    for node in manifest.nodes.values():
        test = getattr(node, "test_metadata", None)
        if test is None:
            continue
        if test.name == "unique_combination":
            combined.add(node.attached_node)
        elif test.name in ("unique", "not_null"):
            (unique if test.name == "unique" else filled).add((node.attached_node, test.kwargs["column_name"]))
    for model in models:
        for name, column in model.columns.items():
            if any(str(constraint.type) == "not_null" for constraint in column.constraints):
                filled.add((model.unique_id, name))
    keyed = combined | {model for model, _ in unique & filled}
    assert [model.name for model in models if model.unique_id not in keyed] == [], (
        "give the key the data_tests unique and not_null, or the model unique_combination over the key's columns"
    )


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
            assert model.name.startswith((f"stg_{model.fqn[2]}__", f"base_{model.fqn[2]}__")), model.name
            assert model.name.startswith("base_") == (model.fqn[3] == "base"), model.name


def test_marts_have_enforced_contracts(models):
    marts = [model for model in models if layer(model) == "marts"]
    assert marts
    assert [model.name for model in marts if not model.config.contract.enforced] == []


def test_every_model_belongs_to_one_phase_and_features_never_read_scores(models):
    phases = {model.unique_id: PHASES.intersection(model.tags) for model in models}
    # Every staging folder is of the features phase unless it says another one: tags add up.
    for model in models:
        if layer(model) == "staging" and len(phases[model.unique_id]) > 1:
            phases[model.unique_id].discard("features_phase")
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


def test_no_model_refers_to_files_after_the_build(manifest, models):
    """Staging is written down, and marts are copied as tables; a view between them holds no path of the key either.

    All but the web's events: they are too many to be written twice, and what reads them is written down. What models
    read is published as files, and may be views of marts.
    """
    views = [model for model in models if model.config.materialized == "view" and model.name != "stg_web__events"]
    others = {one.config.materialized for one in models if one not in views and one.name != "stg_web__events"}
    assert others <= {"table", "incremental"}
    for model in views:
        published = model.schema == "features"
        assert published or layer(model) == "intermediate", f"{model.name}: expected a table"
        assert not any(parent.endswith(".stg_web__events") for parent in model.depends_on.nodes), model.name
        called, seen = list(model.depends_on.macros), set()
        while called:
            name = called.pop()
            if name in manifest.macros and name not in seen:
                seen.add(name)
                called += manifest.macros[name].depends_on.macros
        assert "macro.letterpress.keyed_hash" not in seen, f"{model.name} reads the identity key: make it a table"


def test_whoever_reads_staging_asks_for_the_disposition(models):
    judging = {model.unique_id for model in models if layer(model) == "staging" and "disposition" in model.columns}
    for model in models:
        read = judging.intersection(model.depends_on.nodes)
        if layer(model) == "intermediate" and read and model.name not in FOUND_IN_THE_GRAPH:
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
        assert "read_parquet" not in text or file.name in ("landed_rows.sql", "inputs_index.sql"), file
        assert not re.search(r"\bnow\(|current_timestamp|current_date|getdate|run_started_at", text), file


def test_a_singular_test_opens_with_its_reason():
    for file in (PROJECT / "tests").glob("*.sql"):
        assert file.name.startswith("assert_")
        body = re.sub(r"\{\{.*?\}\}", "", file.read_text(), count=1).lstrip() if "config(" in file.read_text() else None
        assert (body or file.read_text()).startswith("--"), file.name


def test_the_documentation_is_one_page_that_needs_no_server(landing, manifest):
    answer = landing.dbt(*build.DOCS)
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


# What follows are the rules of dbt-project-evaluator that the tests above do not hold, with its own thresholds unless
# dbt_project.yml sets others for it. The package cannot be installed here; its definitions are followed literally.


@pytest.fixture(scope="module")
def parents(manifest, models) -> dict[str, set[str]]:
    """Direct parents of each model: models, sources and seeds."""
    return {model.unique_id: set(model.depends_on.nodes) for model in models}


@pytest.fixture(scope="module")
def children(parents) -> dict[str, set[str]]:
    """Direct children of everything that a model reads."""
    found: dict[str, set[str]] = {}
    for child, its_parents in parents.items():
        for parent in its_parents:
            found.setdefault(parent, set()).add(child)
    return found


def named(*unique_ids: str) -> str:
    return ", ".join(sorted(one.split(".", 2)[2] for one in unique_ids))


def is_base(unique_id: str) -> bool:
    """A base model prepares one staging model of its source, and is a part of it."""
    return unique_id.startswith("model.letterpress.base_")


def evaluator_variable(name: str, default: int) -> int:
    settings = yaml.safe_load((PROJECT / "dbt_project.yml").read_text())
    return settings["vars"]["dbt_project_evaluator"].get(name, default)


def test_a_source_is_read_by_one_model_and_every_source_by_some(manifest, children):
    for source in manifest.sources.values():
        readers = {child for child in children.get(source.unique_id, set()) if not is_base(child)}
        assert readers, f"{source.name} is an unused source: write its staging model, or take it out of the .yml"
        assert len(readers) == 1, f"{source.name} is read by {named(*readers)}: let one staging model read it"


def test_no_two_sources_are_one_table(manifest):
    places = [(source.schema, source.identifier) for source in manifest.sources.values()]
    assert len(places) == len(set(places)), "two sources name one table: declare it once"


def test_a_model_reads_one_source_and_then_nothing_but_seeds(models, parents):
    for model in models:
        sources = [parent for parent in parents[model.unique_id] if parent.startswith("source.")]
        assert len(sources) <= 1, f"{model.name} reads {named(*sources)}: stage each source by itself, join later"
        if sources:
            joined = [one for one in parents[model.unique_id] if one.startswith("model.") and not is_base(one)]
            assert not joined, f"{model.name} joins a source with {named(*joined)}: stage the source first"


def test_staging_reads_no_other_model(models, parents):
    for model in models:
        if layer(model) == "staging":
            read = [one for one in parents[model.unique_id] if one.startswith("model.") and not is_base(one)]
            assert not read, f"{model.name} reads {named(*read)}: move it to intermediate"


def test_every_model_has_a_parent(models, parents):
    roots = {model.name for model in models if not parents[model.unique_id]}
    assert roots <= FOUND_IN_THE_GRAPH, "a root model reads nothing by ref or source: say what it reads"


def test_no_model_fans_out_into_many_marts(children):
    """A model with many children that nobody reads further is a sign of logic that belongs into one of them."""
    threshold = evaluator_variable("models_fanout_threshold", 3)
    for parent, readers in children.items():
        if parent.startswith("model."):
            leaves = [child for child in readers if not children.get(child)]
            assert len(leaves) < threshold, (
                f"{named(parent)} fans out into {named(*leaves)}: let a model between hold what they share"
            )


def test_no_model_joins_too_many_others(parents):
    threshold = evaluator_variable("too_many_joins_threshold", 7)
    for child, read in parents.items():
        if named(child) in FOUND_IN_THE_GRAPH:
            continue  # one union over all sources
        assert len(read) < threshold, (
            f"{named(child)} reads {len(read)} relations: join some of them in a model before it"
        )


def test_upstream_concepts_are_rejoined_for_a_stated_reason_alone(parents, children):
    """A model read together with the only child of a model that reads it, too: often a step that is none."""
    found = {
        (named(parent), named(between), named(child))
        for child, read in parents.items()
        for between in read
        for parent in parents.get(between, ())
        if parent in read and children[between] == {child}
    }
    assert found - set(REJOINED) == set(), (
        "read the parent through the model between, fold that one into its only reader, or say why in REJOINED"
    )
    assert set(REJOINED) - found == set(), "nothing is rejoined here any more: take it out of REJOINED"


def test_no_model_names_a_relation_by_itself(models):
    """After from or join stands a CTE, a macro or ref: a table with its schema would hide from dbt's graph."""
    for model in models:
        code = re.sub(r"--[^\n]*", "", model.raw_code)
        found = re.findall(r"(?i)\b(?:from|join)\s+[\[`\"']?(\w+[\]`\"']?\.[\[`\"']?\w+)", code)
        assert not found, f"{model.name} names {', '.join(found)}: use ref or source"


def test_sources_and_their_tables_are_described_where_their_staging_lives(manifest):
    for source in manifest.sources.values():
        assert source.source_description, f"{source.source_name}: describe the source"
        assert source.description, f"{source.source_name}.{source.name}: describe the table"
        assert f"models/staging/{source.source_name}/" in source.original_file_path, (
            f"{source.source_name}: move its .yml to models/staging/{source.source_name}/"
        )


def test_sources_say_how_old_they_may_be(manifest):
    for source in manifest.sources.values():
        assert source.freshness is not None, f"{source.name}: give it a freshness"
        assert source.freshness.warn_after.count, f"{source.name}: say after how long its freshness warns"
        assert source.loaded_at_query, f"{source.name}: say when it was loaded (loaded_at_query)"


def test_a_test_stands_in_the_folder_of_its_model(manifest, models):
    """Path of the .yml beside path of the model: who moves one moves the other."""
    folders = {model.unique_id: Path(model.original_file_path).parent for model in models}
    for node in manifest.nodes.values():
        if node.resource_type == "test" and getattr(node, "attached_node", None) in folders:
            folder = folders[node.attached_node]
            assert Path(node.original_file_path).parent == folder, f"{node.name}: move it to {folder}"


def test_exposures_read_public_tables_with_contracts(manifest, models):
    by_id = {model.unique_id: model for model in models}
    assert manifest.exposures
    for exposure in manifest.exposures.values():
        for parent in exposure.depends_on.nodes:
            model = by_id.get(parent)
            assert model is not None, f"{exposure.name} reads {parent}: let it read a mart"
            assert str(model.access) == "public", f"{exposure.name} reads {model.name}: make its folder public"
            assert model.config.materialized not in ("view", "ephemeral"), f"{model.name}: make it a table"
    for model in models:
        if str(model.access) == "public":
            assert model.config.contract.enforced, f"{model.name} is public: give it a contract"


def test_every_model_has_a_test(manifest, models):
    tested = {getattr(node, "attached_node", None) for node in manifest.nodes.values() if node.resource_type == "test"}
    assert [model.name for model in models if model.unique_id not in tested] == []
