"""A project left to a real `airflow standalone` while things go wrong, and compared with one where nothing did."""
