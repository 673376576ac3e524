"""`python -m benchmarks.load`: from a Delta table into Cassandra, against peers."""
