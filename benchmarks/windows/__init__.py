"""Sliding windows against their peers: `python -m benchmarks.windows`."""
