"""Parsing the DAGs of many views."""
