"""`python -m features.embedded` fetches the jars of Delta and Cassandra ahead of their first use."""

import logging
import sys

from features.embedded.jars import ensure_jars, install_delta_jars
from features.errors import FeatureStoreError

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
logger = logging.getLogger(__name__)

try:
    install_delta_jars(progress=logger.info)
    ensure_jars("cassandra", progress=logger.info)
except FeatureStoreError as exc:
    raise SystemExit(f"error: {exc}") from exc
