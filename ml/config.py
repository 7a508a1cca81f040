"""``models.yml``: which models there are, what each reads, its settings and the gate before its promotion."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml.errors import ConfigurationError
from ml.spec import ModelSettings, ModelSpec

DEFAULT = Path(__file__).with_name("models.yml")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # by libyaml: Airflow reads the DAGs again and again


class PromotionGate(BaseModel):
    """What a new version has to show before it serves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str = Field(description="the metric that decides; training and evaluation both report it")
    direction: Literal["maximise", "minimise"] = "maximise"
    minimum: float = Field(description="the worst value that may serve")
    margin: float = Field(
        default=0.0,
        description="the lower end of the 95 % interval of the new version's quality minus the champion's, on the same"
        " customers, has to be above it; below 0 so much of a loss is borne for fresher data",
    )
    unmeasured: Literal["refuse", "first"] = Field(
        default="refuse", description="too little data to measure: refuse, or accept where nothing serves yet"
    )


class FairnessGate(BaseModel):
    """What may differ between groups of customers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_selection_ratio: float = Field(default=0.8, gt=0, le=1, description="lowest rate over the highest")
    maximum_quality_gap: float | None = Field(
        default=None, ge=0, description="best group's quality minus the worst one's; none: it is shown, not judged"
    )
    minimum_group: int = Field(default=50, ge=2, description="smaller groups are not shown")
    confidence: float = Field(default=0.95, gt=0.5, lt=1)


class Fairness(FairnessGate):
    """By which columns of ``customer_features`` a model's selection and quality are compared, and the gate."""

    groups: tuple[str, ...] = Field(default=(), description="columns of customer_features; none: nothing is compared")
    bands: dict[str, tuple[float, ...]] = Field(
        default_factory=dict, description="least values of the bands of a number, such as {age_years: [25, 45, 65]}"
    )
    selected_share: float = Field(default=0.2, gt=0, lt=1, description="the best share counts as selected")
    # Tastes differ between groups, and what is given out here is mail, no job: the usual four fifths is too strict.
    minimum_selection_ratio: float = Field(default=0.5, gt=0, le=1, description="lowest rate over the highest")


class Monitoring(BaseModel):
    """What is watched of a version that serves, and when it is no longer good enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trending: tuple[str, ...] = Field(default=(), description="inputs that grow with time by design: no drift")
    drifted_share: float = Field(default=0.3, gt=0, le=1, description="share of drifted inputs from which to retrain")
    guardrail: float | None = Field(
        default=None, description="quality on labels that arrived; surely below it, the version before serves again"
    )
    score_psi: float = Field(default=0.5, gt=0, description="shift of the scores' distribution that is a breach")


class ModelBlock(BaseModel):
    """One block of ``models.yml`` as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    module: str = Field(pattern=r"^[a-z_][a-z0-9_.]*$")
    features: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    promotion: PromotionGate
    fairness: Fairness = Fairness()
    monitoring: Monitoring = Monitoring()
    headline: tuple[str, ...] = Field(default=(), description="the metrics that a report shows, in this order")


@dataclass(frozen=True)
class ConfiguredModel:
    """One model, ready to use: its spec, what it reads, its validated settings and its gate."""

    name: str
    spec: ModelSpec
    features: Mapping[str, tuple[str, ...]]
    settings: ModelSettings
    promotion: PromotionGate
    fairness: Fairness
    monitoring: Monitoring


def model_names(path: str | Path = DEFAULT) -> list[str]:
    """The configured models, in the file's order; no model module is imported."""
    return list(_blocks(path))


def headline(name: str, metrics: Mapping[str, Any], path: str | Path = DEFAULT) -> dict[str, Any]:
    """The few of a model's metrics that a report shows, by readable name; what was not measured is left out."""
    block = _blocks(path).get(name)
    wanted = block.headline if block else ()
    return {metric.replace("_", " "): metrics[metric] for metric in wanted if metrics.get(metric) is not None}


def configured(name: str, path: str | Path = DEFAULT) -> ConfiguredModel:
    """One model with its settings validated.

    Raises :class:`ConfigurationError` that names file, field, what was expected and what was found.
    """
    blocks = _blocks(path)
    if name not in blocks:
        raise ConfigurationError(f"{path}: no model {name!r}; expected one of {', '.join(blocks)}")
    block = blocks[name]
    try:
        spec = importlib.import_module(block.module).MODEL
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f"{path}: {name}.module: expected a module that exposes MODEL, found {block.module!r} ({error})"
        ) from error
    if spec.name != name:
        raise ConfigurationError(
            f"{path}: {name}.module: {block.module} holds the model {spec.name!r}; name the block after it"
        )
    unknown = sorted(set(block.features) - set(spec.features))
    if unknown:
        raise ConfigurationError(
            f"{path}: {name}.features.{unknown[0]}: the model does not read it; it reads {', '.join(spec.features)}"
        )
    try:
        settings = spec.settings.model_validate(block.settings)
    except ValidationError as error:
        raise _refusal(path, f"{name}.settings", error, spec.settings) from error
    features = {
        frame: tuple(dict.fromkeys((*required, *block.features.get(frame, ()))))
        for frame, required in spec.features.items()
    }
    return ConfiguredModel(
        name=name,
        spec=spec,
        features=features,
        settings=settings,
        promotion=block.promotion,
        fairness=block.fairness,
        monitoring=block.monitoring,
    )


def _blocks(path: str | Path) -> dict[str, ModelBlock]:
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=LOADER)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{path}: the file is missing; expected one block for each model") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not YAML: {error}") from error
    if not isinstance(content, dict) or not content:
        raise ConfigurationError(f"{path}: expected one block for each model, found {type(content).__name__}")
    blocks = {}
    for name, block in content.items():
        try:
            blocks[name] = ModelBlock.model_validate(block)
        except ValidationError as error:
            raise _refusal(path, name, error, ModelBlock) from error
    return blocks


def _refusal(path: str | Path, prefix: str, error: ValidationError, model: type[BaseModel]) -> ConfigurationError:
    lines = []
    for problem in error.errors():
        field = ".".join([prefix, *(str(part) for part in problem["loc"])])
        if problem["type"] == "extra_forbidden":
            parts = {"promotion": PromotionGate, "fairness": Fairness, "monitoring": Monitoring}
            parent = parts.get(str(problem["loc"][0]), model) if len(problem["loc"]) > 1 else model
            lines.append(f"{field}: unknown key; known keys are {', '.join(parent.model_fields)}")
        else:
            lines.append(f"{field}: {problem['msg']}, found {problem['input']!r}")
    return ConfigurationError(f"{path}: " + "; ".join(lines))
