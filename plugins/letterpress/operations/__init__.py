"""What `make run` does: start the services, run the line through Airflow, report."""
