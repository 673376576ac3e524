"""Settings: conf/base.yaml under conf/<env>.yaml under overrides, as one frozen object that is passed down.

Secrets are never in conf: it names the environment variable that holds one (`password_env: CASSANDRA_PASSWORD`).
"""

from features.config.airflow import AirflowSettings, PoolSettings
from features.config.batch import (
    BackfillSettings,
    ConnectionSettings,
    MaintenanceSettings,
    SparkSettings,
    TrainingSetSettings,
)
from features.config.loading import Settings, load_settings
from features.config.online import LoadSettings, OnlineSettings, TlsSettings
from features.config.section import read_secret
from features.config.serving import ServingKey, ServingSettings

__all__ = [
    "AirflowSettings",
    "BackfillSettings",
    "ConnectionSettings",
    "LoadSettings",
    "MaintenanceSettings",
    "OnlineSettings",
    "PoolSettings",
    "ServingKey",
    "ServingSettings",
    "Settings",
    "SparkSettings",
    "TlsSettings",
    "TrainingSetSettings",
    "load_settings",
    "read_secret",
]
