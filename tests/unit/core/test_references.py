import pytest

from features.core.references import Reference, parse_reference
from features.errors import DefinitionError


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("plane", Reference("plane")),
        ("plane:age", Reference("plane", None, "age")),
        ("plane@3", Reference("plane", 3)),
        ("plane@12:age_2", Reference("plane", 12, "age_2")),
    ],
)
def test_a_reference_is_read_and_written(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert str(reference) == text


@pytest.mark.parametrize(
    "text",
    ["", "Plane", "plane:", ":age", "plane@", "plane@0", "plane@x", "plane@1:", "a:b:c", "plane ", "plane\n", None, 3],
)
def test_what_is_no_reference_is_refused(text: object) -> None:
    with pytest.raises(DefinitionError, match="is not a reference; write view, view:feature or view@version:feature"):
        parse_reference(text)  # type: ignore[arg-type]
