from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from features.config import load_settings
from features.errors import ConfigError

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_environment_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATURES_ENV", raising=False)


@pytest.fixture
def write_conf(tmp_path: Path) -> Write:
    """Writes a configuration folder: base.yaml, and an overlay for each name."""

    def write(base: str = "", **overlays: str) -> Path:
        for name, text in {"base": base, **(overlays or {"local": ""})}.items():
            (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_overrides_lie_over_the_overlay_and_the_overlay_over_base(write_conf: Write) -> None:
    base = (
        "views: a\nwarehouse: a\nregistry: a\n"
        "online: {keyspace: a, port: 1, hosts: [a, b]}\nspark: {conf: {x: a, y: a}}"
    )
    local = "warehouse: b\nregistry: b\nonline: {port: 2, hosts: [c]}\nspark: {conf: {y: b}}"
    overrides = {"registry": "c", "online.timeout_seconds": 3, "online.port": 4, "spark.conf.z": "c"}

    settings = load_settings(write_conf(base, local=local), overrides=overrides)

    assert (settings.env, settings.views, settings.warehouse, settings.registry) == ("local", "a", "b", "c")
    assert (settings.online.keyspace, settings.online.port, settings.online.timeout_seconds) == ("a", 4, 3)
    # Mappings are merged, lists replaced.
    assert settings.online.hosts == ("c",)
    assert settings.spark.conf == {"x": "a", "y": "b", "z": "c"}


def test_one_host_needs_no_list(write_conf: Write) -> None:
    settings = load_settings(write_conf(), overrides={"online.hosts": "cassandra.example.com"})

    assert settings.online.hosts == ("cassandra.example.com",)


@pytest.mark.parametrize(
    ("argument", "variable", "chosen"),
    [(None, None, "local"), (None, "prod", "prod"), ("test", "prod", "test"), (None, "", "local")],
)
def test_the_environment_is_the_argument_or_the_variable_or_local(
    write_conf: Write, monkeypatch: pytest.MonkeyPatch, argument: str | None, variable: str | None, chosen: str
) -> None:
    if variable is not None:
        monkeypatch.setenv("FEATURES_ENV", variable)

    assert load_settings(write_conf(local="", prod="", test=""), env=argument).env == chosen


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ware_house: x", "ware_house: unknown setting"),
        ("online: {hostz: [x]}", "online.hostz: unknown setting"),
        ("training_sets: {daily: {features: f, spine: s, cron: x}}", "training_sets.daily.cron: unknown setting"),
        ("training_sets: {daily: {features: f}}", "training_sets.daily.spine: Field required"),
        ("online: [x]", "online: Input should be a valid dictionary"),
        ("online:", "online: Input should be a valid dictionary"),
        ("online: {type: redis}", "online.type: Input should be 'cassandra' or 'memory'"),
        ("online: {port: 0}", "online.port: Input should be greater than or equal to 1"),
        ("online: {port: many}", "online.port: Input should be a valid integer"),
        ("online: {keyspace: My-Features}", "online.keyspace: String should match pattern"),
        ("online: {hosts: []}", "online.hosts: Tuple should have at least 1 item"),
        ("spark: {conf: [x]}", "spark.conf: Input should be a valid dictionary"),
        ("airflow: {start: 2024-01-01T00:00:00}", "airflow.start: Value error, needs an offset, such as"),
        ("airflow: {end: 2024-01-01}", "airflow.end: Value error, needs an offset, such as"),
        ("airflow: {max_active_runs: 0}", "airflow.max_active_runs: Input should be greater"),
    ],
)
def test_what_is_wrong_is_told_by_its_dotted_name_and_files(write_conf: Write, text: str, why: str) -> None:
    folder = write_conf(local=text)
    with pytest.raises(ConfigError) as raised:
        load_settings(folder)

    assert str(raised.value).startswith(f"{folder / 'local.yaml'} over {folder / 'base.yaml'}: ")
    assert why in str(raised.value)


def test_a_file_does_not_say_which_environment_it_is(write_conf: Write) -> None:
    with pytest.raises(ConfigError, match=r"local.yaml: env: the file's name says"):
        load_settings(write_conf(local="env: prod"))


def test_views_is_the_dotted_name_of_a_package(write_conf: Write) -> None:
    with pytest.raises(ConfigError, match="and overrides: views: String should match pattern"):
        load_settings(write_conf(), overrides={"views": "../../x"})


def test_everything_that_is_wrong_is_told_at_once(write_conf: Write) -> None:
    with pytest.raises(ConfigError, match=r"online.port: .*; spark.cores: unknown setting"):
        load_settings(write_conf(), overrides={"online.port": -1, "spark.cores": 2})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("online: {port", "base.yaml is not valid YAML"),
        ("a: b: c", "base.yaml is not valid YAML"),
        ("!!python/object:os.system {}", "base.yaml is not valid YAML"),
        ("[online]", "base.yaml must hold a mapping of setting names to values, found list"),
        ("online", "base.yaml must hold a mapping of setting names to values, found str"),
        ("1: x", "base.yaml must hold a mapping of setting names to values"),
    ],
)
def test_a_damaged_file_is_named(write_conf: Write, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load_settings(write_conf(text))


def test_a_file_that_is_no_text_is_named(write_conf: Write) -> None:
    folder = write_conf()
    (folder / "local.yaml").write_bytes(b"\xff\xfe\x00\xd8")

    with pytest.raises(ConfigError, match=r"local.yaml is not valid YAML"):
        load_settings(folder)


def test_a_folder_in_a_files_place_is_named(write_conf: Write) -> None:
    folder = write_conf()
    (folder / "prod.yaml").mkdir()

    with pytest.raises(ConfigError, match=r"prod.yaml cannot be read: Is a directory"):
        load_settings(folder, env="prod")


def test_a_missing_folder_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no configuration folder '.*nowhere'; run from the project's root or pass"):
        load_settings(tmp_path / "nowhere")


@pytest.mark.parametrize("env", ["prd", "base"])
def test_a_missing_environment_comes_with_those_that_exist(write_conf: Write, env: str) -> None:
    with pytest.raises(ConfigError, match=f"no environment '{env}' in .*; known: local, prod"):
        load_settings(write_conf(local="", prod=""), env=env)


def test_base_is_needed(write_conf: Write) -> None:
    folder = write_conf()
    (folder / "base.yaml").unlink()

    with pytest.raises(ConfigError, match=r"base.yaml does not exist; every configuration folder needs one"):
        load_settings(folder)


@pytest.mark.parametrize(
    ("connection", "why"),
    [
        ('{url: "jdbc:postgresql://db/shop?user=me&password=hunter2"}', "holds a password; set username"),
        ('{url: "jdbc:mysql://me:hunter2@db/shop"}', "holds a password; set username"),
        ("{url: postgresql://db/shop}", "url: String should match pattern"),
        ("{url: jdbc:postgresql://db/shop, options: {password: hunter2}}", "options: .*must not hold 'password'"),
        ("{url: jdbc:postgresql://db/shop, password: hunter2}", "password: unknown setting"),
    ],
)
def test_connections_hold_no_secret(write_conf: Write, connection: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"connections.orders.*{why}") as error:
        load_settings(write_conf(local=f"connections: {{orders: {connection}}}"))

    assert "hunter2" not in str(error.value)


def test_times_keep_their_offset(write_conf: Write) -> None:
    settings = load_settings(write_conf(local="airflow: {start: 2024-01-01T01:00:00+01:00}"))

    assert settings.airflow.start == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("setting", "read"),
    [
        ("online.password_env", lambda settings: settings.online.password()),
        ("registry_password_env", lambda settings: settings.registry_password()),
        ("connections.orders.password_env", lambda settings: settings.connections["orders"].password("orders")),
    ],
)
def test_a_password_comes_from_the_variable_that_conf_names(
    write_conf: Write, monkeypatch: pytest.MonkeyPatch, setting: str, read: Callable[[Any], Any]
) -> None:
    folder = write_conf(local="connections: {orders: {url: 'jdbc:postgresql://db/shop'}}")
    settings = load_settings(folder, overrides={setting: "A_PASSWORD_OF_THE_TESTS"})

    assert read(load_settings(folder)) is None
    with pytest.raises(ConfigError, match=f"{setting} names A_PASSWORD_OF_THE_TESTS, which is not set"):
        read(settings)
    monkeypatch.setenv("A_PASSWORD_OF_THE_TESTS", "secret")
    assert read(settings).get_secret_value() == "secret"
    assert "secret" not in f"{read(settings)} {read(settings)!r}"


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda s: f"{[s]}"])
def test_settings_are_shown_without_the_registrys_password(write_conf: Write, show: Callable[[Any], str]) -> None:
    settings = load_settings(write_conf(), overrides={"registry": "postgresql://me:hunter2@db.example.com/features"})

    assert "hunter2" not in show(settings)
    assert "db.example.com" in show(settings)


def test_settings_with_a_registry_that_is_no_url_can_be_shown(write_conf: Write) -> None:
    settings = load_settings(write_conf(), overrides={"registry": "me:hunter2@db"})

    assert "hunter2" not in repr(settings)


def test_settings_are_frozen(write_conf: Write) -> None:
    settings = load_settings(write_conf())

    with pytest.raises(ValidationError, match="frozen"):
        settings.warehouse = "elsewhere"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.online.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("env", ["local", "prod"])
def test_the_projects_own_conf_is_valid(env: str) -> None:
    assert load_settings(Path(__file__).parents[2] / "conf", env=env).env == env
