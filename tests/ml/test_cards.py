"""The card of a version tells all that is known of it, and nothing of anybody."""

import xml.etree.ElementTree as ET

import pytest
from model_rows import AS_OF

from ml import config, registry
from ml.cards import bars, beside_baselines, card_uri, figure, index, plot, read
from ml.errors import RegistryError
from ml.files import read_bytes

CURVE = {
    "title": "Calibration",
    "x_label": "expected",
    "y_label": "actual",
    "lines": {"model": [(0.0, 0.1), (1.0, 0.9)], "baseline": [(0.0, 0.5), (1.0, 0.5)]},
    "diagonal": True,
}


@pytest.mark.parametrize("name", config.model_names())
def test_every_version_has_a_card_with_its_figures(name, served):
    alias = registry.champion(name, served.registry_url)
    page = read_bytes(card_uri(served.registry, alias.model_version)).decode()
    about = registry.metadata(served.registry, alias.model_version)
    assert f"{AS_OF:%Y-%m-%d}" in page
    assert alias.model_version in page
    metric = config.configured(name).promotion.metric
    assert metric.replace("_", " ") in page
    assert page.count("<svg") == len(about["curves"]) + bool(about["importance"])
    assert "Promoted: " in page


def test_an_unknown_version_is_refused_without_touching_a_path(served):
    with pytest.raises(RegistryError, match="no such version"):
        read(served.registry, served.registry_url, "../../secrets")


def test_all_models_are_listed_with_the_one_that_serves(served):
    page = index(served.registry_url, "/models/{}")
    for name, alias in registry.aliases(served.registry_url).items():
        assert name.replace("_", " ").capitalize() in page
        assert f'href="/models/{alias.model_version}"' in page


def test_plots_are_drawings_and_the_same_each_time():
    assert plot(CURVE) == plot(CURVE)
    assert ET.fromstring(plot(CURVE)).tag.endswith("svg")
    assert "Calibration" in plot(CURVE)
    assert "recency_days" in bars([("recency_days", 0.7), ("frequency", 0.3)])


def test_a_baseline_stands_beside_its_metric():
    metrics = {"customers": 3, "rmse": 1.0, "rmse_naive": 2.0, "rmse_naive_weekly": 3.0}
    assert beside_baselines(metrics) == [
        ("customers", 3, []),
        ("rmse", 1.0, [("naive", 2.0), ("naive weekly", 3.0)]),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "not measured"), (True, "yes"), (0.123456, "0.1235"), (12345.6, "12,346"), (1234, "1,234"), ("a", "a")],
)
def test_figures_are_readable(value, text):
    assert figure(value) == text
