"""The contenders, and the process of one: `python -m benchmarks.pit.contend NAME DATA WARM_UP_DATA OUT`."""

from benchmarks.contending import contend

CONTENDERS = {
    "ours": "benchmarks.pit.ours:join",
    "ours_saved": "benchmarks.pit.ours:save",
    "duckdb_narrow": "benchmarks.pit.peer_duckdb:join_narrow",
    "duckdb": "benchmarks.pit.peer_duckdb:join_wide",
    "union_window": "benchmarks.pit.peer_spark:join",
    "feast": "benchmarks.pit.peer_feast:join",
}

if __name__ == "__main__":
    contend(CONTENDERS)
