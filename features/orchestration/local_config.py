"""The configuration and environment of the local Airflow: loopback only, quick to notice, no settings of others."""

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

# Names of variables that would change what a process of ours reads, imports or listens to.
_FOREIGN = ("AIRFLOW", "PYTHON")
# With SQLite, several tasks at once wait for each other's writes; more than a few gain nothing.
_TEMPLATE = """\
# Written at each start, from the arguments of LocalAirflow.
[core]
dags_folder = {dags}
executor = LocalExecutor
parallelism = {parallelism}
max_active_tasks_per_dag = {parallelism}
load_examples = False
dags_are_paused_at_creation = True
dagbag_import_timeout = 120
min_serialized_dag_update_interval = 1
simple_auth_manager_all_admins = True
execution_api_server_url = {url}/execution/
fernet_key = {fernet_key}

[database]
# Seconds that a write waits for another's to end: on a busy machine the 5 of the default are soon over.
sql_alchemy_conn = sqlite:///{home}/airflow.db?timeout=60

[logging]
base_log_folder = {home}/logs

[api]
host = {host}
port = {port}
base_url = {url}
workers = 1
secret_key = {secret_key}

[api_auth]
jwt_secret = {jwt_secret}

[workers]
# A worker often notices the end of its task only after a heartbeat.
min_heartbeat_interval = 1
max_failed_heartbeats = 30
execution_api_timeout = 30
# After a restart the scheduler may start tasks before the API server answers: each in vain would cost it a retry.
execution_api_retries = 12
execution_api_retry_wait_max = 5

[scheduler]
scheduler_idle_sleep_time = 0.2
scheduler_heartbeat_sec = 2
scheduler_health_check_threshold = 60
task_instance_heartbeat_timeout = 60
task_instance_heartbeat_timeout_detection_interval = 5

[dag_processor]
refresh_interval = 5
bundle_refresh_check_interval = 1
min_file_process_interval = {parse_seconds}
parsing_processes = 1
dag_file_processor_timeout = 180
"""


def render_config(*, home: Path, dags: Path, host: str, port: int, parallelism: int, parse_seconds: int) -> str:
    """The text of airflow.cfg; keys that it signs with are drawn once per home and kept there."""
    return _TEMPLATE.format(
        home=_escape(home),
        dags=_escape(dags),
        host=host,
        port=port,
        url=f"http://{host}:{port}",
        parallelism=parallelism,
        parse_seconds=parse_seconds,
        **_keys(home / "keys.json"),
    )


def build_environment(*, home: Path, marker: tuple[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for Airflow and its tasks: their programs are this Python's, their settings ours.

    Args:
        home: becomes AIRFLOW_HOME.
        marker: a variable by which all processes of this Airflow are known.
        extra: what is laid over it at last.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    # Not resolved: a virtual environment's python is a link, and its programs are beside the link.
    programs = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([programs, environment.get("PATH", os.defpath)])
    # Tasks talk to the API server of this machine; a proxy would not find it.
    for name in ("NO_PROXY", "no_proxy"):
        environment[name] = ",".join(filter(None, [environment.get(name), "127.0.0.1", "localhost"]))
    environment.update({"AIRFLOW_HOME": str(home), "GX_ANALYTICS_ENABLED": "false", "PYTHONUNBUFFERED": "1"})
    environment[marker[0]] = marker[1]
    return environment | dict(extra)


def _escape(path: Path) -> str:
    # Airflow expands % in values of its configuration file.
    return str(path).replace("%", "%%")


def _keys(path: Path) -> dict[str, str]:
    if path.exists():
        return {str(name): str(key) for name, key in json.loads(path.read_text(encoding="utf-8")).items()}
    keys = {
        "jwt_secret": secrets.token_hex(32),
        "secret_key": secrets.token_hex(32),
        # 32 bytes in URL-safe base64: what a Fernet key is.
        "fernet_key": secrets.token_urlsafe(32) + "=",
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(keys, file)
    return keys
