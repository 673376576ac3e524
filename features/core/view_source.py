"""A source that is another feature view: its rows as they are published, interval by interval."""

from dataclasses import dataclass
from datetime import timedelta

from features.core.checks import check_duration, check_name, check_text, fail
from features.core.references import Reference, parse_reference
from features.errors import DefinitionError


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewSource:
    """The current rows of another feature view: one for each key, event and interval.

    The transform gets the view's join keys, event_timestamp, its features, and available_timestamp, which it passes on:
    a microsecond before the end of the interval that published the row, so that a row belongs to the interval here that
    contains that moment. What a retraction took out is not there.

    view: `"other"`, the version that the code defines: when that changes, so does this view. Or `"other@3"`, that
        version, until the code names another.
    history: how far before an interval the transform needs rows.
    """

    name: str
    view: str
    history: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        me = f"ViewSource {self.name!r}"
        check_name(self.name, owner=me)
        check_text(self.view, owner=me, field="view", required=True)
        try:
            reference = parse_reference(self.view)
        except DefinitionError as exc:
            raise DefinitionError(f"{me}: view {exc}") from exc
        if reference.feature is not None:
            raise fail(me, "view", f"{self.view!r} names a feature; the transform gets all of {reference.name!r}")
        check_duration(self.history, owner=me, field="history")

    @property
    def reference(self) -> Reference:
        """The view, perhaps of a version."""
        return parse_reference(self.view)

    @property
    def timestamp_field(self) -> str:
        """The column that says when a row is true of the world."""
        return "event_timestamp"

    @property
    def created_timestamp_field(self) -> str:
        """The column that says when a row could first be read here."""
        return "available_timestamp"
