"""A real `airflow standalone` over five days of flights, disturbed, against the same days undisturbed."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.soak.run import soak

if TYPE_CHECKING:
    from features.embedded.cassandra import CassandraNode

logger = logging.getLogger(__name__)

# Five days of two views, with kills: as slow as the machine is.
pytestmark = [pytest.mark.spark, pytest.mark.integration, pytest.mark.timeout(2400)]


def test_days_with_kills_and_a_refused_interval_end_as_days_without(
    cassandra_node: "CassandraNode", tmp_path: Path
) -> None:
    port = cassandra_node.status().port
    report = soak(tmp_path, port=port, days=5, views=("carrier_delay", "weather"), tell=logger.info)
    assert report.is_sound, "\n".join([*report.holes, *report.untold_versions, *report.differences[:20]])
    assert (report.submit_kills, report.scheduler_kills) == (1, 1)
    assert report.refused == ["carrier_delay 2013-03-03"]
    # Those that were killed, or refused, were submitted again.
    assert report.submits >= 5 * 2 + 3
