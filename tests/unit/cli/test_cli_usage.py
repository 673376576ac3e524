import json
import subprocess
import sys
from argparse import ArgumentParser, _SubParsersAction
from collections.abc import Iterator
from pathlib import Path

import pytest

from features.cli import main
from features.cli.options import parse_features, parse_overrides
from features.cli.parser import build_parser
from features.errors import UsageError
from tests.projects import Project


def find_verbs(parser: ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every verb, those of a verb's own verbs too."""
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for name, verb in action.choices.items():
                yield (*words, name)
                yield from find_verbs(verb, (*words, name))


VERBS = tuple(find_verbs(build_parser()))
# These only hold others.
GROUPS = {("cassandra",), ("serving-key",)}


@pytest.mark.parametrize("words", [words for words in VERBS if words not in GROUPS], ids=" ".join)
def test_every_verb_has_a_help_with_an_example(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert f"features {' '.join(words)}" in capsys.readouterr().out.partition("example:")[2]


def test_the_help_and_the_page_of_the_command_line_list_every_verb() -> None:
    text, page = build_parser().format_help(), Path("docs/cli.md").read_text(encoding="utf-8")
    names = [words[0] for words in VERBS if len(words) == 1]
    assert len(names) >= 30
    assert [name for name in names if f"    {name}" not in text or f"\n| `{name}` |" not in page] == []


def test_help_imports_no_vendor() -> None:
    code = "import sys; from features.cli.parser import build_parser; build_parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    vendors = {"pyspark", "pydantic", "sqlalchemy", "cassandra", "great_expectations", "airflow", "yaml", "pandas"}
    assert vendors & set(loaded) == set()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["bild"],
        ["build", "v"],
        ["get"],
        ["plan", "--no-such-option"],
        ["build", "v", "--start", "x"],
        ["cassandra"],
    ],
)
def test_wrong_usage_exits_2_and_points_to_the_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: features")
    assert "--help" in printed.err
    assert "Traceback" not in printed.err


def test_wrong_usage_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["type"] == "UsageError"
    assert error["exit_code"] == 2
    assert "VIEW" in error["message"]


def test_overrides_are_yaml_values_by_dotted_name() -> None:
    given = parse_overrides(["online.port=9043", "online.hosts=[a, b]", "registry=sqlite:///x=1.db"])
    assert given == {"online.port": 9043, "online.hosts": ["a", "b"], "registry": "sqlite:///x=1.db"}


@pytest.mark.parametrize("pair", ["views", "=x", "online.hosts=[a"])
def test_an_override_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_overrides([pair])


def test_an_unknown_setting_exits_2(project: Project) -> None:
    outcome = project.run("plan", "--set", "onlin.type=memory")
    assert outcome.code == 2
    assert "onlin: unknown setting" in outcome.err


def test_a_missing_conf_folder_exits_2_and_says_where(project: Project) -> None:
    outcome = project.run("status", "--conf", "elsewhere")
    assert outcome.code == 2
    assert str(project.folder / "elsewhere") in outcome.err


def test_the_conf_folder_may_come_from_the_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (project.folder / "conf").rename(project.folder / "settings")
    monkeypatch.setenv("FEATURES_CONF", "settings")
    assert project.run("plan").code == 0


def test_one_reference_is_text_and_several_are_a_list() -> None:
    assert parse_features("model") == "model"
    assert parse_features("a:x, b") == ["a:x", "b"]
