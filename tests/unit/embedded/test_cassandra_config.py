from pathlib import Path
from typing import Any

import yaml

from features.embedded.cassandra_config import cassandra_yaml, jvm_command


def config(**options: object) -> dict[str, Any]:
    text = cassandra_yaml(host="127.0.0.1", port=9042, storage_port=7000, storage_dir=Path("/data"), options=options)
    return yaml.safe_load(text)  # type: ignore[no-any-return]


def command(java_version: int) -> list[str]:
    return jvm_command(
        java=Path("/jdk/bin/java"),
        java_version=java_version,
        jars=[Path("/jars/a.jar"), Path("/jars/b.jar")],
        heap_mb=512,
        config=Path("/node/cassandra.yaml"),
        logback=Path("/node/logback.xml"),
        storage_dir=Path("/data"),
        temporary_dir=Path("/node/tmp"),
        jmx_port=7199,
    )


def test_every_address_is_the_hosts() -> None:
    settings = config()
    assert settings["listen_address"] == settings["rpc_address"] == "127.0.0.1"


def test_every_folder_is_below_the_storage_folder() -> None:
    settings = config()
    folders = [str(value) for name, value in settings.items() if name.endswith("_directory")]
    folders += settings["data_file_directories"]
    assert len(folders) == 5
    assert all(folder.startswith("/data/") for folder in folders)


def test_options_win_and_may_be_new() -> None:
    settings = config(num_tokens=1, client_encryption_options={"enabled": True})
    assert settings["num_tokens"] == 1
    assert settings["client_encryption_options"] == {"enabled": True}


def test_jmx_is_bound_to_loopback_by_the_local_property() -> None:
    assert "-Dcassandra.jmx.local.port=7199" in command(17)
    assert not any("jmx.remote" in word and word.startswith("-D") for word in command(17))


def test_only_a_jdk_past_17_is_told_to_allow_a_security_manager() -> None:
    assert "-Djava.security.manager=allow" in command(21)
    assert "-Djava.security.manager=allow" not in command(17)
