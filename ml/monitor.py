"""What becomes of a version that serves: drift of its inputs and scores, and its quality once labels arrive.

A report is written for each model and instant. Its verdict is ``fine``, ``retrain`` (the world has moved, or nothing
stands behind a version that does too badly) or ``roll_back`` (on labels that have arrived the version is surely below
its guardrail, and another one was promoted before it, which serves from then on).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ml import config, files
from ml.errors import ModelError
from ml.frames import NAMING, customer_ranges, read_frames, utc

if TYPE_CHECKING:
    import pandas as pd

    from ml.config import ConfiguredModel, Fairness, Monitoring

MOST_CUSTOMERS = 50_000
"""Drift is told from so many customers: ids are hashes, so the first ones are as good as any."""

DRAWS = 300

DEGRADED = ("retrain", "roll_back")
"""Verdicts after which another version is wanted: one that gave way leaves an older one behind."""


def watch(
    name: str,
    *,
    features: str,
    as_of: datetime,
    registry: str,
    registry_url: str,
    scores: str,
    configuration: str | None = None,
) -> dict[str, Any]:
    """Look at the version of ``name`` that serves as of ``as_of``; roll back where its guardrail is breached.

    ``features`` and ``scores`` as in :func:`ml.score.score`. Returns the report, which is kept as JSON under
    ``<registry>/monitoring/<model>/<as_of>.json``, and on the version's card. Raises ``NoChampion`` where nothing
    serves.
    """
    from ml import registry as versions
    from ml.cards import write_card

    as_of = utc(as_of)
    model = config.configured(name, configuration or config.DEFAULT)
    alias, artefact, damaged = versions.serving(name, registry, registry_url)
    fitted = model.spec.load(artefact)
    about = versions.metadata(registry, alias.model_version)
    drifted = _drifted(model, fitted, about.get("reference"), features, as_of)
    quality = _quality(model, fitted, features, as_of, files.join(scores, name, alias.model_version))
    report = {
        "model_name": name,
        "model_version": alias.model_version,
        "as_of": as_of.isoformat(),
        "drifted": [one["column"] for one in drifted if one["verdict"] == "drifted"],
        "inputs": drifted,
        "score_psi": _score_psi(files.join(scores, name, alias.model_version), as_of),
        "damaged": damaged,
        **quality,
    }
    report["verdict"], report["reason"] = verdict(report, model.monitoring)
    if report["verdict"] == "roll_back":
        try:
            back = versions.roll_back(name, registry_url, f"guardrail: {report['reason']}")
            report["serves_instead"] = back.model_version
        except ModelError:
            report["verdict"] = "retrain"
            report["reason"] += "; no version was promoted before it"
    files.write_bytes(_uri(registry, name, as_of), files.json_bytes(report))
    write_card(registry, alias.model_version, registry_url)
    return report


def verdict(report: Mapping[str, Any], monitoring: Monitoring) -> tuple[str, str]:
    """What to do about a report, and why, in words."""
    upper, guardrail = report.get("quality_upper"), monitoring.guardrail
    if upper is not None and guardrail is not None and upper < guardrail:
        found = f"quality {report['quality']:.3f} on {report['labelled']} labels, surely below {guardrail:g}"
        return "roll_back", f"{found} (95 % interval up to {upper:.3f})"
    share = len(report["drifted"]) / len(report["inputs"]) if report["inputs"] else 0.0
    if share >= monitoring.drifted_share:
        return "retrain", f"{len(report['drifted'])} of {len(report['inputs'])} inputs have drifted"
    psi = report.get("score_psi")
    if psi is not None and psi >= monitoring.score_psi:
        return "retrain", f"the scores' distribution has shifted (PSI {psi:.2f})"
    return "fine", "nothing has moved that matters"


def reports(registry: str, name: str, latest: int) -> list[dict[str, Any]]:
    """The latest reports on a model, oldest first."""
    folder = files.join(registry, "monitoring", name)
    return [files.read_json(files.join(folder, file)) for file in files.names(folder)[-latest:]]


def is_degraded(registry: str, name: str, since: datetime) -> bool:
    """Whether the latest report asks for another training, and came after ``since``."""
    return any(
        report["verdict"] in DEGRADED and datetime.fromisoformat(report["as_of"]) > since
        for report in reports(registry, name, latest=1)
    )


def _uri(registry: str, name: str, as_of: datetime) -> str:
    return files.join(registry, "monitoring", name, f"{as_of.strftime(NAMING)}.json")


def _sample(model: ConfiguredModel, features: str, as_of: datetime) -> dict[str, pd.DataFrame]:
    customers = customer_ranges(features, model.features, MOST_CUSTOMERS)[0]
    return read_frames(features, model.features, as_of, customers)


def _drifted(
    model: ConfiguredModel, fitted: Any, reference: Mapping[str, Any] | None, features: str, as_of: datetime
) -> list[dict[str, Any]]:
    if reference is None or model.spec.inputs is None:
        return []
    from ml import drift

    inputs = model.spec.inputs(fitted, _sample(model, features, as_of), as_of)
    return [asdict(one) for one in drift.drift(drift.Reference.from_json(reference), inputs)]


def _score_psi(folder: str, as_of: datetime) -> float | None:
    """How far the scores have moved since the version scored first; None for the first time."""
    from ml import drift

    instants = [name for name in files.names(folder) if name <= as_of.strftime(NAMING)]
    if len(instants) < 2:
        return None
    first, last = (_scores(files.join(folder, name))[["customer_id", "score"]] for name in (instants[0], instants[-1]))
    found = drift.drift(drift.reference_of(first), last)
    return found[0].psi if found else None


def _quality(model: ConfiguredModel, fitted: Any, features: str, as_of: datetime, folder: str) -> dict[str, Any]:
    """The quality of the latest scores whose outcome is known by now, and its 95 % interval."""
    nothing = {"quality": None, "quality_lower": None, "quality_upper": None, "labelled": 0, "scored_as_of": None}
    if model.spec.outcomes is None or model.spec.quality is None:
        return nothing
    frames = None
    for name in reversed([one for one in files.names(folder) if one < as_of.strftime(NAMING)]):
        scored_as_of = utc(datetime.strptime(f"{name}+0000", f"{NAMING}%z"))
        frames = frames if frames is not None else read_frames(features, model.features, as_of)
        outcomes = model.spec.outcomes(fitted, frames, scored_as_of, as_of)
        if outcomes is None or outcomes.empty:
            continue
        said = _scores(files.join(folder, name))[["customer_id", "score"]].rename(columns={"score": "prediction"})
        found = outcomes.merge(said, on="customer_id", validate="many_to_one")
        measured = interval(model.spec.quality, found)
        if measured is None:
            continue
        value, lower, upper = measured
        return {
            "quality": value,
            "quality_lower": lower,
            "quality_upper": upper,
            "labelled": len(found),
            "scored_as_of": scored_as_of.isoformat(),
        }
    return nothing


def interval(quality: Callable[[pd.DataFrame], float | None], held: pd.DataFrame) -> tuple[float, float, float] | None:
    """A quality and its 95 % interval by resampling rows, one for each customer; None where it has no value."""
    import numpy as np

    from ml.bootstrap import paired_interval

    held = held.reset_index(drop=True)
    if len(held) > MOST_CUSTOMERS:
        held = held.sample(MOST_CUSTOMERS, random_state=0).reset_index(drop=True)

    def against_nothing(rows: np.ndarray) -> tuple[float, float]:
        value = quality(held.take(rows))
        return (np.nan if value is None else value), 0.0

    try:
        return paired_interval(against_nothing, len(held), draws=DRAWS)
    except ValueError:
        return None


def _scores(folder: str) -> pd.DataFrame:
    import fsspec
    import pandas as pd

    with fsspec.open(files.join(folder, "scores.parquet"), "rb") as file:
        return pd.read_parquet(file)


def reference(inputs: pd.DataFrame, monitoring: Monitoring) -> dict[str, Any]:
    """What the inputs look like at training, in counts: kept with the version."""
    from ml import drift

    return drift.reference_of(inputs, excluded=(*drift.TRENDING, *monitoring.trending)).as_json()


def fairness(
    held: pd.DataFrame,
    groups: pd.DataFrame,
    settings: Fairness,
    quality: Callable[[pd.DataFrame], float | None] | None,
) -> dict[str, Any]:
    """Who is selected, and how well it is predicted, by group; with the gate's verdict, as plain JSON values.

    ``held`` as ``Trained.holdout``; ``groups`` has ``customer_id`` and the columns of ``settings.groups``; where it has
    ``is_<column>_imputed`` too, what is filled in counts as missing. The best ``selected_share`` of the predictions
    counts as selected.
    """
    import numpy as np
    import pandas as pd

    from ml.fairness import report

    known = held.drop_duplicates("customer_id", keep="last").merge(groups, on="customer_id", validate="one_to_one")
    for column in settings.groups:
        if (flag := f"is_{column}_imputed") in known:
            known[column] = known[column].mask(known[flag].astype(bool))
    for column, bands in settings.bands.items():
        edges = [-np.inf, *bands, np.inf]
        names = [
            f"below {bands[0]:g}",
            *(f"{low:g} to {high:g}" for low, high in pairwise(bands)),
            f"from {bands[-1]:g}",
        ]
        known[column] = pd.cut(known[column].astype(float), edges, right=False, labels=names).astype(object)
    known["selected"] = known["prediction"].rank(method="first", pct=True) > 1 - settings.selected_share
    return report(known, settings.groups, settings, quality).as_json()
