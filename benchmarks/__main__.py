"""`python -m benchmarks`: every benchmark, one after another."""

from benchmarks import cold_start

cold_start.main()
