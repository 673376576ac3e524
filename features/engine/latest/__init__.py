"""The latest row of each key, found in the log's files by tasks that read them themselves: what loads write.

Narrow first: keys and times of a range of keys are ranked, then the values of the rows that won are read.
"""

from features.engine.latest.plan import Latest, plan_latest

__all__ = ["Latest", "plan_latest"]
