"""A timetable of our own: dates to backfill, and never a run by itself."""

from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.timetables.trigger import CronTriggerTimetable


class BackfillOnly(CronTriggerTimetable):
    """The instants of a cron expression, for backfills alone: the scheduler finds nothing that is due.

    A backfill asks for every instant between two dates, and so does catch-up, which the rules for DAGs forbid; the
    scheduler asks without it.
    """

    description = "On a backfill or by hand"

    @property
    def summary(self) -> str:
        """What the list of DAGs shows."""
        return "backfill only"

    def next_dagrun_info(
        self, *, last_automated_data_interval: DataInterval | None, restriction: TimeRestriction
    ) -> DagRunInfo | None:
        """The next instant for a backfill, none for the scheduler."""
        if not restriction.catchup:
            return None
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )
