"""The whole line, run through Airflow: trigger what the assets have not triggered, and follow it to its end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from letterpress.operations.airflow_client import AirflowClient
from letterpress.settings import Settings

ENDED = ("success", "failed", "skipped", "upstream_failed", "removed")


class LineFailed(RuntimeError):
    """A DAG run failed; the message names the task and shows the end of its log."""


@dataclass
class Stage:
    """DAGs that may run side by side, and how long they took together."""

    name: str
    dag_ids: list[str]
    seconds: float = 0.0
    runs: int = 0


@dataclass
class LineResult:
    """What one pass over the line did."""

    stages: list[Stage] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, later: "LineResult") -> None:
        """Count another pass over stages of the same names in."""
        known = {stage.name: stage for stage in self.stages}
        for stage in later.stages:
            known[stage.name].seconds += stage.seconds
            known[stage.name].runs += stage.runs
        self.seconds += later.seconds


def stages(settings: Settings) -> list[Stage]:
    """The stages in the order of the data's flow."""
    from letterpress.activation.campaign import campaigns
    from letterpress.activation.destinations import destinations
    from letterpress.sources import load_sources

    return [
        Stage("ingest", [f"ingest_{source}" for source in load_sources()]),
        Stage("warehouse: features", ["warehouse_features"]),
        Stage("models: train", ["models_train"]),
        Stage("models: score", ["models_score"]),
        Stage("warehouse: activation", ["warehouse_activation"]),
        Stage("activation: sync", [f"sync_{name}" for name in destinations()]),
        Stage("activation: campaigns", [f"campaign_{name}" for name in campaigns()]),
        Stage("documentation", ["documentation"]),
    ]


def engagement_stages(settings: Settings) -> list[Stage]:
    """What follows from the mails just sent: the ESP's events come back, and all that depends on them.

    Without it the next run would find the deliveries of this one and build again.
    """
    from letterpress.activation.destinations import destinations
    from letterpress.sources import load_sources

    back = [f"ingest_{name}" for name in load_sources() if name in destinations()]
    _, *rest = stages(settings)
    return [Stage("ingest", back), *rest]


def run_line(
    client: AirflowClient,
    settings: Settings,
    *,
    tell: Callable[[str], None],
    wanted: list[Stage] | None = None,
    conf: dict | None = None,
    timeout: float = 3600,
) -> LineResult:
    """Run every stage (or those ``wanted``; the first is always triggered) once and wait for all that follows from it.

    ``conf`` are parameters of the runs that are triggered here.

    Assets trigger most of it. A stage that nothing triggered is triggered by hand, since an earlier run may have
    been killed before it could tell; where there is nothing to do it ends at once. Raises ``LineFailed``.
    """
    result = LineResult(stages=wanted or stages(settings))
    began = time.monotonic()
    since = datetime.now(UTC).isoformat()
    conf = ({"as_of": settings.as_of.isoformat()} if settings.as_of else {}) if conf is None else conf
    told: set[tuple] = set()
    for stage in result.stages:
        stage_began = time.monotonic()
        if stage is result.stages[0]:
            for dag_id in stage.dag_ids:
                client.trigger(dag_id, conf)
        while True:
            waiting = _settle(client, stage, since, told, tell)
            if not waiting:
                untouched = [dag_id for dag_id in stage.dag_ids if not client.runs(dag_id, since=since)]
                if not untouched:
                    break
                for dag_id in untouched:
                    client.trigger(dag_id, conf)
            if time.monotonic() - began > timeout:
                raise LineFailed(f"{stage.name}: expected an end within {timeout:g} s, found {waiting} still under way")
            time.sleep(1.0)
        stage.seconds = time.monotonic() - stage_began
        stage.runs = sum(len(client.runs(dag_id, since=since)) for dag_id in stage.dag_ids)
    result.seconds = time.monotonic() - began
    return result


def _settle(
    client: AirflowClient, stage: Stage, since: str, told: set[tuple], tell: Callable[[str], None]
) -> list[str]:
    """Tell what ended since the last look; returns the DAGs that are still under way."""
    waiting = []
    for dag_id in stage.dag_ids:
        # In this order: the scheduler turns events into a run at any moment, and then only the run is to be seen.
        if client.queued_events(dag_id):
            waiting.append(dag_id)
        for run in client.runs(dag_id, since=since):
            if (dag_id, run["dag_run_id"]) in told:
                continue
            for task in client.tasks(dag_id, run["dag_run_id"]):
                _tell_task(task, told, tell)
            if run["state"] == "failed":
                raise LineFailed(_explain(client, dag_id, run["dag_run_id"]))
            if run["state"] == "success":
                told.add((dag_id, run["dag_run_id"]))
            else:
                waiting.append(dag_id)
    return waiting


def _tell_task(task: dict, told: set[tuple], tell: Callable[[str], None]) -> None:
    key = (task["dag_id"], task["dag_run_id"], task["task_id"], task["map_index"], task["try_number"])
    if task["state"] not in (*ENDED, "up_for_retry") or key in told:
        return
    told.add(key)
    marks = {"success": "✓", "skipped": "–", "failed": "✗", "upstream_failed": "✗", "up_for_retry": "↻"}
    seconds = f"{task['duration']:5.1f} s" if task["duration"] else " " * 7
    note = {"skipped": "nothing to do", "up_for_retry": "will be tried again"}.get(task["state"], "")
    tell(f"{marks.get(task['state'], ' ')} {seconds}  {task['dag_id']}.{task['task_id']}  {note}".rstrip())


def _explain(client: AirflowClient, dag_id: str, run_id: str) -> str:
    """The failed tasks of a run, each with the end of its log."""
    parts = [f"{dag_id}: expected the run to succeed, found it failed; next step: see the run in the Airflow UI"]
    for task in client.tasks(dag_id, run_id):
        if task["state"] != "failed":
            continue
        events = [event for event in client.log(dag_id, run_id, task) if isinstance(event, dict)]
        lines = []
        for event in events[-12:]:
            lines.append(f"    {event.get('level', '')} {event.get('event', '')}")
            for detail in event.get("error_detail") or []:
                lines.append(f"      {detail.get('exc_type')}: {detail.get('exc_value')}")
        parts.append(f"  {task['task_id']}:\n" + "\n".join(lines))
    return "\n".join(parts)
