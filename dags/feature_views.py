"""Airflow: one DAG for each feature view in the registry."""

from features.orchestration.airflow_dags import find_conf, render_feature_views

globals().update(render_feature_views(find_conf(__file__)))
