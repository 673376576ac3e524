"""The contenders, and the process of one: `python -m benchmarks.windows.contend NAME DATA WARM_UP_DATA OUT`."""

from benchmarks.contending import contend

CONTENDERS = {
    "ours": "benchmarks.windows.ours:compute_of_files",
    "ours_of_frame": "benchmarks.windows.ours:compute_of_frame",
    "polars": "benchmarks.windows.peer_polars:compute",
    "duckdb": "benchmarks.windows.peer_duckdb:compute",
    "spark": "benchmarks.windows.peer_spark:compute",
}

if __name__ == "__main__":
    contend(CONTENDERS)
