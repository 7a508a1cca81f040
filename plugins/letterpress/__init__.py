"""Everything that Airflow and the services import."""
