"""The contenders, and the process of one: `python -m benchmarks.load.contend NAME DATA WARM_UP_DATA OUT`."""

from benchmarks.contending import contend

CONTENDERS = {
    "sstable": "benchmarks.load.ours:sstable",
    "cql": "benchmarks.load.ours:cql",
    "changed": "benchmarks.load.ours:changed",
    "touched": "benchmarks.load.ours:touched",
    "floor": "benchmarks.load.peers:floor",
    "connector": "benchmarks.load.peers:connector",
    "feast": "benchmarks.load.peer_feast:write",
}

if __name__ == "__main__":
    contend(CONTENDERS)
