"""Where rows are kept: the offline log (Delta), and the online stores (Cassandra, memory)."""
