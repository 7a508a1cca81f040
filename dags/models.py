"""### Models

`models_train` trains each model of `models.yml` that has no champion, an old one or one that has degraded; the
promotion gate decides what goes live (`force` trains at once). A model with nobody to score yet, as clicks are before
the first mail, waits until there is somebody. `models_score` scores every customer of the published
features version with the champions and writes Parquet; equal scores leave the files alone. Then it **watches**: drift
of inputs and scores, and quality once labels arrive. Below its guardrail a version gives way to the one before it.

Emit `model_champions` when another version serves, `model_scores` when the published version lacks them, and
`model_degraded` when a version should be trained anew. Every version's card: the task's link, or *Models* in the menu.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param

from letterpress.orchestration import models
from letterpress.orchestration.assets import CHAMPIONS, DEGRADED, FEATURES
from letterpress.orchestration.defaults import Tag, dag_defaults
from ml.config import model_names

shared = dag_defaults(Tag.MODELS, description="Train what is due; the gate decides what goes live")
force = Param(False, type="boolean", title="Force", description="Train although the champion is young.")
monthly = CronTriggerTimetable("30 4 1 * *", timezone="UTC")

with DAG(
    "models_train",
    schedule=AssetOrTimeSchedule(timetable=monthly, assets=(FEATURES | DEGRADED)),
    doc_md=__doc__,
    **(shared | {"params": shared["params"] | {"force": force}}),
):
    pinned = models.pin_features()
    models.announce_champions([models.train(name, pinned) for name in model_names()])

with DAG(
    "models_score",
    schedule=(FEATURES | CHAMPIONS),
    doc_md=__doc__,
    **dag_defaults(Tag.MODELS, description="Score every customer with the champions, and watch them"),
):
    pinned = models.pin_features()
    scored = [models.score.override(task_id=f"score_{name}")(name, pinned) for name in model_names()]
    watched = models.watch(scored, pinned)
    watched >> models.announce_scores(scored)
    models.announce_roll_backs(watched)
    models.announce_degraded(watched)
