"""The process of one daily run: `python -m benchmarks.incremental.contend NAME HISTORY WARM_UP_HISTORY OUT`."""

from benchmarks.contending import contend

if __name__ == "__main__":
    contend({"run": "benchmarks.incremental.daily:run"})
