"""What Airflow has to know of us by name."""

from airflow.plugins_manager import AirflowPlugin

from letterpress.orchestration.pages import PREFIX, ModelCardLink, Pages, SyncLink
from letterpress.orchestration.timetables import BackfillOnly


class LetterpressPlugin(AirflowPlugin):
    """Registers our timetable, so that a stored DAG can be read back, and our pages."""

    name = "letterpress"
    timetables = [BackfillOnly]  # noqa: RUF012 - as Airflow wants it
    fastapi_apps = [{"app": Pages(), "url_prefix": PREFIX, "name": "Letterpress"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {"name": "Models", "href": f"{PREFIX}/models", "url_route": "letterpress-models", "destination": "nav"},
        {"name": "Syncs", "href": f"{PREFIX}/syncs", "url_route": "letterpress-syncs", "destination": "nav"},
    ]
    operator_extra_links = [ModelCardLink(), SyncLink()]  # noqa: RUF012
