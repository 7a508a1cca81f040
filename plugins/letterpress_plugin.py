"""What Airflow finds in its folder of plugins; it looks into nothing below (.airflowignore)."""

from letterpress.orchestration.plugin import LetterpressPlugin

__all__ = ["LetterpressPlugin"]
