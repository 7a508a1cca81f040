"""Measure a version that exists on the features of today."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ml import config
from ml.errors import NoChampion
from ml.frames import read_frames, utc


def evaluate(
    name: str,
    *,
    features: str,
    as_of: datetime,
    registry: str,
    registry_url: str,
    model_version: str | None = None,
    configuration: str | None = None,
) -> dict[str, Any]:
    """The metrics of a version (None: the serving one) on the features as of ``as_of``; nothing is written.

    Raises :class:`NoChampion` where none serves, and ``RegistryError`` where the artefact is damaged.
    """
    from ml import registry as versions

    as_of = utc(as_of)
    model = config.configured(name, configuration or config.DEFAULT)
    if model_version is None:
        serving = versions.champion(name, registry_url)
        if serving is None:
            raise NoChampion(f"{name}: no version serves; train the model first")
        model_version = serving.model_version
    fitted = model.spec.load(versions.read(registry, model_version))
    return model.spec.evaluate(fitted, read_frames(features, model.features, as_of), as_of)
