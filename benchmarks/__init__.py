"""Performance figures: `python -m benchmarks.NAME` measures, and prints one JSON object as its last line."""
