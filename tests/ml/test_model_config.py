"""models.yml is checked before anything runs, and says which field is wrong."""

import pytest

from ml import config
from ml.errors import ConfigurationError

GOOD = """
customer_lifetime_value:
  module: ml.models.customer_lifetime_value
  settings: {horizon_days: 30}
  promotion: {metric: holdout_rank_correlation, minimum: 0.1}
"""


def written(tmp_path, text):
    path = tmp_path / "models.yml"
    path.write_text(text)
    return path


def refusal(path, name="customer_lifetime_value"):
    with pytest.raises(ConfigurationError) as refused:
        config.configured(name, path)
    return str(refused.value)


@pytest.mark.parametrize("name", config.model_names())
def test_every_model_of_the_product_is_configured_and_measures_what_its_gate_asks_for(name):
    model = config.configured(name)
    assert model.spec.name == name
    assert model.promotion.metric


def test_every_module_of_a_model_is_configured():
    modules = {f"ml.models.{file.stem}" for file in (config.DEFAULT.parent / "models").glob("[a-z]*.py")}
    assert {config.configured(name).spec.name for name in config.model_names()} == set(config.model_names())
    assert {block.module for block in config._blocks(config.DEFAULT).values()} == modules


def test_settings_are_read_and_frozen(tmp_path):
    model = config.configured("customer_lifetime_value", written(tmp_path, GOOD))
    assert model.settings.horizon_days == 30
    with pytest.raises(ValueError, match="frozen"):
        model.settings.horizon_days = 31


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (GOOD.replace("horizon_days", "horizont"), "customer_lifetime_value.settings.horizont: unknown key"),
        (GOOD.replace("horizon_days: 30", "horizon_days: -1"), "settings.horizon_days: Input should be greater"),
        (GOOD.replace("minimum:", "minimal:"), "customer_lifetime_value.promotion.minimal: unknown key"),
        (GOOD.replace("module:", "modul:"), "customer_lifetime_value.modul: unknown key"),
        (GOOD.replace("customer_lifetime_value\n", "nowhere\n"), "expected a module that exposes MODEL"),
        (GOOD + "  features: {web: [clicks]}\n", "features.web: the model does not read it"),
        ("customer_lifetime_value: [", "not YAML"),
    ],
)
def test_a_mistake_is_refused_with_file_and_field(tmp_path, wrong, field):
    path = written(tmp_path, wrong)
    message = refusal(path)
    assert str(path) in message
    assert field in message


def test_an_unknown_key_is_answered_with_the_known_ones(tmp_path):
    assert "horizon_days, holdout_days" in refusal(written(tmp_path, GOOD.replace("horizon_days", "horizont")))


def test_an_unknown_model_is_answered_with_the_known_ones(tmp_path):
    assert "expected one of customer_lifetime_value" in refusal(written(tmp_path, GOOD), "customer_fortune")


def test_an_absent_file_is_named(tmp_path):
    assert "models.yml: the file is missing" in refusal(tmp_path / "models.yml")


def test_a_report_gets_the_headline_metrics_that_were_measured():
    metrics = {"clusters": 5, "silhouette": 0.32, "stability": None, "silhouette_3": 0.4}
    assert config.headline("customer_clusters", metrics) == {"clusters": 5, "silhouette": 0.32}
    assert config.headline("unheard_of", metrics) == {}
