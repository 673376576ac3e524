"""The as-of join: beside each row of a spine, the feature values that a reader at its time would have got.

The native engine distributes the spine by ranges of (key, time) and leaves the logs where they lie: a task reads what
its range can match, and only the values of rows that won. docs/decisions/point-in-time-join.md says why.
"""

from features.engine.as_of.estimate import Estimate, ViewEstimate
from features.engine.as_of.plan import ENGINES, JoinPlan, plan_join
from features.engine.as_of.requests import AsOf, Pin
from features.engine.as_of.survey import Survey

__all__ = ["ENGINES", "AsOf", "Estimate", "JoinPlan", "Pin", "Survey", "ViewEstimate", "plan_join"]
