"""The gate: what is checked before anything is published."""

from features.quality.gate import judge
from features.quality.looking_back import Span
from features.quality.suite import build_suite
from features.quality.verdict import GateRefusedError, RuleResult, Verdict

__all__ = ["GateRefusedError", "RuleResult", "Span", "Verdict", "build_suite", "judge"]
