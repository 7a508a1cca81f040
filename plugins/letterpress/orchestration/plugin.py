"""What Airflow has to know of us by name."""

from airflow.plugins_manager import AirflowPlugin

from letterpress.orchestration.timetables import BackfillOnly


class LetterpressPlugin(AirflowPlugin):
    """Registers our timetable, so that a stored DAG can be read back."""

    name = "letterpress"
    timetables = [BackfillOnly]  # noqa: RUF012 - as Airflow wants it
