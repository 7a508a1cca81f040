"""### Models

`models_train` trains each model of `models.yml` that has no champion or an old one; the promotion gate decides
what goes live (`force` trains at once). `models_score` scores every customer of the published features version
with the champions and writes Parquet; equal scores leave the files alone.

Emit `model_champions` when a version is promoted, and `model_scores` when the published version lacks them.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, Param

from letterpress.orchestration import models
from letterpress.orchestration.assets import CHAMPIONS, FEATURES
from letterpress.orchestration.defaults import Tag, dag_defaults
from ml.config import model_names

shared = dag_defaults(Tag.MODELS, description="Train what is due; the gate decides what goes live")
force = Param(False, type="boolean", title="Force", description="Train although the champion is young.")

with DAG(
    "models_train",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("30 4 1 * *", timezone="UTC"), assets=[FEATURES]),
    doc_md=__doc__,
    **(shared | {"params": shared["params"] | {"force": force}}),
):
    pinned = models.pin_features()
    models.announce_champions([models.train.override(task_id=f"train_{name}")(name, pinned) for name in model_names()])

with DAG(
    "models_score",
    schedule=(FEATURES | CHAMPIONS),
    doc_md=__doc__,
    **dag_defaults(Tag.MODELS, description="Score every customer with the champions"),
):
    pinned = models.pin_features()
    models.announce_scores([models.score.override(task_id=f"score_{name}")(name, pinned) for name in model_names()])
