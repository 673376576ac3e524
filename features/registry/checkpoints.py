"""Load checkpoints: the last log position that an online store holds, verified."""

from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from features.core.applied import AppliedView
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.schema import checkpoints


class Checkpoints(Part):
    """How far each view version is loaded into each target, such as `cassandra://127.0.0.1:9042/features`."""

    def checkpoint(self, view: AppliedView, *, target: str) -> int:
        """The last log position that was loaded and verified; 0 before the first load."""
        with self._database.read() as connection:
            return connection.scalar(select(checkpoints.c.log_position).where(_at(view, target))) or 0

    def loads(self, *, target: str) -> dict[str, datetime]:
        """View version, as `name@version`, to when its checkpoint last moved, of all that is loaded into a target."""
        with self._database.read() as connection:
            rows = connection.execute(select(checkpoints).where(checkpoints.c.target == target)).all()
        return {f"{row.view}@{row.version}": row.moved_at for row in rows}

    def move_checkpoint(self, view: AppliedView, *, target: str, position: int) -> None:
        """Move a checkpoint forward; to a position that it has reached or passed, nothing happens."""
        moved = {"log_position": position, "moved_at": utc_now()}
        with self._database.write() as connection:
            found = connection.scalar(select(checkpoints.c.log_position).where(_at(view, target)))
            if found is None:
                connection.execute(
                    insert(checkpoints).values(view=view.name, version=view.version, target=target, **moved)
                )
            elif found < position:
                connection.execute(update(checkpoints).where(_at(view, target)).values(moved))

    def reset_checkpoint(self, view: AppliedView, *, target: str, actor: str | None = None) -> None:
        """Forget a checkpoint, so that the next load starts from the beginning of the log."""
        with self._database.write() as connection:
            found = connection.scalar(select(checkpoints.c.log_position).where(_at(view, target)))
            connection.execute(delete(checkpoints).where(_at(view, target)))
            record_audit(
                connection,
                actor=name_actor(actor),
                action="reset checkpoint",
                detail={"view": view.reference, "target": target, "position": found or 0},
            )


def _at(view: AppliedView, target: str) -> Any:
    return (
        (checkpoints.c.view == view.name) & (checkpoints.c.version == view.version) & (checkpoints.c.target == target)
    )
