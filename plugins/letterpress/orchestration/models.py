"""Tasks of the model DAGs: train what is due, score what is published, tell what changed."""

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from letterpress.orchestration import context
from letterpress.orchestration.assets import CHAMPIONS, DEGRADED, SCORES
from letterpress.orchestration.pages import ModelCardLink
from letterpress.orchestration.warehouse import wanted_activation
from letterpress.settings import settings

log = logging.getLogger(__name__)


@task
def pin_features() -> dict:
    """Pin one features version for the whole run: the one that triggered it, else the current one."""
    from letterpress.warehouse import publish

    triggered = context.triggering("version")
    content = publish.manifest(settings().published, "features", triggered[-1] if triggered else None)
    return {key: content[key] for key in ("version", "as_of")}


def train(model: str, pinned: dict) -> Any:
    """The training of one model, with a link to the card of the version that it comes to."""
    trained = train_model.override(task_id=f"train_{model}")(model, pinned)
    trained.operator.operator_extra_links = (ModelCardLink(),)
    return trained


@task(execution_timeout=None)
def train_model(model: str, pinned: dict) -> dict:
    """Train where there is no champion, the champion is old or has degraded; the gate decides what goes live."""
    from letterpress.warehouse import publish
    from ml.errors import NobodyToScore
    from ml.train import is_due
    from ml.train import train as run

    as_of = datetime.fromisoformat(pinned["as_of"])
    forced = bool(get_current_context()["params"].get("force"))
    if not forced and not is_due(model, as_of, settings().registry, settings().stores):
        raise AirflowSkipException(f"{model}: its champion is young enough and fine as of {as_of:%Y-%m-%d}")
    try:
        with publish.lease(settings().published, "features", pinned["version"]) as folder:
            result = run(
                model,
                features=str(folder / "features"),
                as_of=as_of,
                registry=settings().registry,
                registry_url=settings().stores,
                seed=settings().shop_seed,
                features_version=pinned["version"],
            )
    except NobodyToScore as error:
        raise AirflowSkipException(f"{error}; the next features version may know somebody") from None
    log.info("%s %s promoted=%s: %s", model, result.model_version, result.promoted, result.reason)
    return {
        "model": model,
        "version": result.model_version,
        "promoted": result.promoted,
        "reason": result.reason,
        "metrics": result.metrics,
    }


@task(outlets=[CHAMPIONS], trigger_rule="none_failed")
def announce_champions(trained: list[dict]) -> list[str]:
    """One asset event where a version was promoted; none otherwise."""
    promoted = [f"{one['model']}/{one['version']}" for one in trained if one and one["promoted"]]
    if not promoted:
        raise AirflowSkipException("no version was promoted")
    get_current_context()["outlet_events"][CHAMPIONS].extra = {"promoted": promoted}
    return promoted


@task
def score(model: str, pinned: dict) -> dict:
    """Score every customer of the pinned version with the champion; equal scores leave the files as they are."""
    from expectations.suites import score_suite
    from letterpress.orchestration.audits import audit, stop_on_error
    from letterpress.warehouse import publish
    from ml.errors import NoChampion
    from ml.score import score as run

    try:
        with publish.lease(settings().published, "features", pinned["version"]) as folder:
            result = run(
                model,
                features=str(folder / "features"),
                as_of=datetime.fromisoformat(pinned["as_of"]),
                registry=settings().registry,
                registry_url=settings().stores,
                scores=settings().scores,
                features_version=pinned["version"],
                run_id=context.run_id(),
                scored_at=datetime.now(UTC),
                audit=lambda batches: stop_on_error(
                    [
                        audit(
                            settings(),
                            score_suite(model),
                            batches,
                            subject=f"scores of {model} {pinned['version']}",
                            run_id=context.run_id(),
                        )
                    ],
                    kept="the scores on file stay",
                ),
            )
    except NoChampion as error:
        raise AirflowSkipException(str(error)) from None
    for damage in result.damaged:
        log.error("%s: a version promoted later cannot be used: %s", model, damage)
    log.info("%s %s: %d rows, changed=%s", model, result.model_version, result.rows, result.changed)
    return {"model": model, "version": result.model_version, "rows": result.rows, "changed": result.changed}


@task(trigger_rule="none_failed")
def watch(scored: list[dict], pinned: dict) -> list[dict]:
    """Drift, and quality on labels that have arrived; below its guardrail a version gives way to the one before."""
    from letterpress.warehouse import publish
    from ml.monitor import watch as run

    watched = []
    with publish.lease(settings().published, "features", pinned["version"]) as folder:
        for model in [one["model"] for one in scored if one]:
            report = run(
                model,
                features=str(folder / "features"),
                as_of=datetime.fromisoformat(pinned["as_of"]),
                registry=settings().registry,
                registry_url=settings().stores,
                scores=settings().scores,
            )
            level = logging.INFO if report["verdict"] == "fine" else logging.WARNING
            log.log(level, "%s %s: %s: %s", model, report["model_version"], report["verdict"], report["reason"])
            watched.append({key: report[key] for key in ("model_name", "model_version", "verdict", "reason")})
    if not watched:
        raise AirflowSkipException("no model has a champion yet")
    return watched


@task(outlets=[CHAMPIONS], trigger_rule="none_failed")
def announce_roll_backs(watched: list[dict]) -> list[str]:
    """One asset event where a version gave way; the scores are made anew by the one that serves instead."""
    back = [one["model_name"] for one in watched or () if one["verdict"] == "roll_back"]
    if not back:
        raise AirflowSkipException("no version was rolled back")
    get_current_context()["outlet_events"][CHAMPIONS].extra = {"rolled_back": back}
    return back


@task(outlets=[DEGRADED], trigger_rule="none_failed")
def announce_degraded(watched: list[dict]) -> list[str]:
    """One asset event where a version should be trained anew."""
    from ml import monitor

    degraded = [one["model_name"] for one in watched or () if one["verdict"] in monitor.DEGRADED]
    if not degraded:
        raise AirflowSkipException("every version is fine")
    get_current_context()["outlet_events"][DEGRADED].extra = {"degraded": degraded}
    return degraded


@task(outlets=[SCORES], trigger_rule="none_failed")
def announce_scores(scored: list[dict]) -> str:
    """One asset event where the scores on file are not those of the published activation version."""
    from letterpress.warehouse import publish

    if not any(scored):
        raise AirflowSkipException("no model has a champion yet")
    inputs = wanted_activation()
    if publish.is_current(settings().published, inputs):
        raise AirflowSkipException(f"activation {inputs.version} holds these scores already")
    get_current_context()["outlet_events"][SCORES].extra = {
        "as_of": inputs.as_of,
        "scores": list(inputs.scores),
    }
    return inputs.version
