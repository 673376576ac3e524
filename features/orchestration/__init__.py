"""From what was applied to what is run: plans of DAGs, without Airflow, and the one door to Airflow."""
