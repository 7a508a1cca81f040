"""Fitted learners as files: skops for scikit-learn's parts, XGBoost's own JSON for its boosters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ml import files, skops_files
from ml.uplift.learners import Learned


def dump(learned: Learned) -> dict[str, bytes]:
    """File name → bytes, equal for equal learners."""
    about = {"name": learned.name, "weights": learned.weights, "offset": learned.offset}
    content = {"learner.json": files.json_bytes(about)}
    for number, part in enumerate(learned.parts):
        if hasattr(part, "get_booster"):
            content[f"part_{number}.xgboost.json"] = bytes(part.get_booster().save_raw("json"))
        else:
            content[f"part_{number}.skops"] = skops_files.dump(part)
    return content


def load(artefact: Mapping[str, bytes]) -> Learned:
    """The inverse of :func:`dump`."""
    about = json.loads(artefact["learner.json"])
    parts = tuple(_part(artefact, number) for number in range(len(about["weights"])))
    return Learned(about["name"], parts, tuple(about["weights"]), about["offset"])


def _part(artefact: Mapping[str, bytes], number: int) -> Any:
    if (skops := artefact.get(f"part_{number}.skops")) is not None:
        return skops_files.load(skops)
    from xgboost import XGBRegressor

    part = XGBRegressor(n_jobs=1)
    part.load_model(bytearray(artefact[f"part_{number}.xgboost.json"]))
    return part
