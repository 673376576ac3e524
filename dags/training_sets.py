"""Airflow: one DAG for each training set in the configuration."""

from features.orchestration.airflow_dags import find_conf, render_training_sets

globals().update(render_training_sets(find_conf(__file__)))
