"""What knows Airflow: assets, defaults, and the tasks that call the rooms beside it."""
