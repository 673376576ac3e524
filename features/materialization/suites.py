"""Teams' own suites, judged when definitions are planned: what no run could judge is told before any does."""

from features.core.definitions import EVENT_TIMESTAMP
from features.core.discovery import Definitions
from features.core.suites import read_suite


def with_checked_suites(definitions: Definitions) -> Definitions:
    """The same definitions, once Great Expectations has taken every expectation of their suites.

    It is loaded only where a view has a suite.

    Raises: DefinitionError: a file is no suite, an expectation names a column that the view lacks, is of an unknown
        type, has wrong arguments, or cannot be judged on Spark.
    """
    for view in definitions.views.values():
        if view.suite is not None:
            from features.quality.team_suite import parse_expectations

            owner = f"FeatureView {view.name!r}"
            columns = [*view.join_keys, EVENT_TIMESTAMP, *(f.name for f in view.features)]
            parse_expectations(read_suite(view.suite, columns=columns, owner=owner), owner=owner)
    return definitions
