"""Models without Airflow: frames in, frames out, everything as of an instant."""
