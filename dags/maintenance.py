"""Airflow: the DAG that maintains the logs of all feature views."""

from features.orchestration.airflow_dags import find_conf, render_maintenance

globals().update(render_maintenance(find_conf(__file__)))
