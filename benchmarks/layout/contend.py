"""The process of one work upon one layout: `python -m benchmarks.layout.contend WORK STORE WARM_UP_STORE OUT`."""

from benchmarks.contending import contend

WORKS = {
    "join": "benchmarks.layout.reading:join",
    "append": "benchmarks.layout.changes:append",
    "rerun": "benchmarks.layout.changes:rerun",
}

if __name__ == "__main__":
    contend(WORKS)
