"""A daily run after a short and a long history: `python -m benchmarks.incremental`."""
