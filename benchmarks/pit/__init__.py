"""The point-in-time join against its peers: `python -m benchmarks.pit`."""
