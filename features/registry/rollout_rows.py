"""The rows that say what serving reads of a view, their history, and the generation that servers poll."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from features.core.rollout import ServingState, ViewRollout
from features.errors import RegistryError
from features.registry.clock import utc_now
from features.registry.records import Switch
from features.registry.schema import checkpoints, rollout_history, rollouts, serving_generation


def read_generation(connection: Connection) -> int:
    """Which state serving is in. Raises: RegistryError: the registry was damaged."""
    found = connection.scalar(select(serving_generation.c.generation))
    if found is None:
        raise RegistryError("the registry has no row in serving_generation; restore it from a backup")
    return int(found)


def read_state(connection: Connection) -> ServingState:
    """All rollouts, and the generation that they are of."""
    views = {row.view: _rollout(row) for row in connection.execute(select(rollouts))}
    return ServingState(generation=read_generation(connection), views=views)


def read_rollout(connection: Connection, view: str) -> ViewRollout:
    """The rollout of an applied view. Raises: RegistryError: the registry was damaged."""
    row = connection.execute(select(rollouts).where(rollouts.c.view == view)).one_or_none()
    if row is None:
        raise RegistryError(f"the registry has no rollout of {view!r}; restore it from a backup")
    return _rollout(row)


def begin_next_generation(connection: Connection) -> None:
    """Tell servers that what a request stands for may have changed."""
    connection.execute(update(serving_generation).values(generation=serving_generation.c.generation + 1))


def write_switch(connection: Connection, switch: Switch, *, action: str, actor: str) -> None:
    """Keep a rollout as it has become, with its history, in a generation of its own."""
    after = switch.after
    values = {
        "live": after.live,
        "candidate": after.candidate,
        "share": after.share,
        "shadow": after.shadow,
    }
    kept = {**values, "salt": after.salt, "earlier": list(after.earlier)}
    if connection.execute(update(rollouts).where(rollouts.c.view == after.view).values(kept)).rowcount == 0:
        connection.execute(insert(rollouts).values(view=after.view, **kept))
    last = connection.scalar(select(func.max(rollout_history.c.ordinal)).where(rollout_history.c.view == after.view))
    connection.execute(
        insert(rollout_history).values(
            view=after.view,
            ordinal=(last or 0) + 1,
            at=utc_now(),
            actor=actor,
            action=action,
            overridden=list(switch.overridden),
            **values,
        )
    )
    begin_next_generation(connection)


def follow_apply(connection: Connection, view: str, version: int, *, actor: str) -> None:
    """Bring a view's rollout along with an apply that made a version current: in the transaction of the apply.

    The first version of a view is live. A later one is not, unless the live one was never loaded anywhere: then no
    reader can have had a value of it.
    """
    row = connection.execute(select(rollouts).where(rollouts.c.view == view)).one_or_none()
    if row is None:
        first = ViewRollout(view=view, live=version)
        write_switch(connection, Switch(before=first, after=first), action="first", actor=actor)
        return
    now = _rollout(row)
    if now.live != version and now.candidate is None and now.live not in read_loaded(connection, view):
        after = replace(now, live=version, shadow=None if now.shadow == version else now.shadow)
        write_switch(connection, Switch(before=now, after=after), action="apply", actor=actor)


def read_loaded(connection: Connection, view: str) -> frozenset[int]:
    """The versions that some online store holds."""
    return frozenset(connection.scalars(select(checkpoints.c.version).where(checkpoints.c.view == view)))


def _rollout(row: Row[Any]) -> ViewRollout:
    return ViewRollout(
        view=row.view,
        live=row.live,
        candidate=row.candidate,
        share=row.share,
        salt=row.salt,
        shadow=row.shadow,
        earlier=tuple(row.earlier),
    )
