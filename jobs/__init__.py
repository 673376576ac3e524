"""One thin entry point per spark-submit job: parse, call one library function, report, exit code."""
