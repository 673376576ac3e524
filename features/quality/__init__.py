"""The gate: what is checked before anything is published."""
