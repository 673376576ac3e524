"""`python -m features.embedded`: what `make setup` does behind the packages, for Spark, Delta and Cassandra."""

import logging
import sys

from features.embedded.jars import ensure_jars, install_delta_jars, install_jdbc_jars
from features.embedded.spark_conf import install_spark_conf, link_spark_home
from features.errors import FeatureStoreError

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
logger = logging.getLogger(__name__)

try:
    install_delta_jars(progress=logger.info)
    install_jdbc_jars(progress=logger.info)
    install_spark_conf()
    link_spark_home()
    ensure_jars("cassandra", progress=logger.info)
except FeatureStoreError as exc:
    raise SystemExit(f"error: {exc}") from exc
