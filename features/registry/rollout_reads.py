"""What serving processes report: who reads which version, and how shadows differ. And what a drop has to ask first."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, delete, insert, select, update

from features.core.applied import AppliedView
from features.core.rollout_counts import ShadowCount, ViewRead
from features.errors import RefusedError
from features.registry.audit import Part, name_actor, record_audit
from features.registry.clock import utc_now
from features.registry.records import ShadowTotal
from features.registry.rollout_checks import drop_objections
from features.registry.rollout_rows import read_rollout
from features.registry.schema import checkpoints, consumers, shadow_counts


class RolloutReads(Part):
    """Consumers of versions, counts of shadows, and the registry's side of dropping an online table."""

    def record_reads(self, reads: Sequence[ViewRead]) -> None:
        """Keep when consumers last read versions; an earlier time than what is known changes nothing.

        A serving process reports at most once a minute: each call is a write.
        """
        if not reads:
            return
        with self._database.write() as connection:
            for read in reads:
                _record_read(connection, read)

    def consumers(self, view: str) -> tuple[ViewRead, ...]:
        """Who has read versions of a view, and when last: by version, the latest reader first."""
        query = (
            select(consumers)
            .where(consumers.c.view == view)
            .order_by(consumers.c.version, consumers.c.last_read_at.desc(), consumers.c.consumer)
        )
        with self._database.read() as connection:
            return tuple(
                ViewRead(view=row.view, version=row.version, consumer=row.consumer, last_read_at=row.last_read_at)
                for row in connection.execute(query)
            )

    def record_shadow(self, counts: Sequence[ShadowCount]) -> None:
        """Add what a serving process has counted since it last reported."""
        if not counts:
            return
        with self._database.write() as connection:
            for count in counts:
                _add_shadow(connection, count)

    def shadow_counts(self, view: str) -> tuple[ShadowTotal, ...]:
        """How shadows of a view compared with its live versions, by versions and feature."""
        query = select(shadow_counts).where(shadow_counts.c.view == view)
        with self._database.read() as connection:
            totals = [
                ShadowTotal(
                    view=row.view,
                    live=row.live,
                    shadow=row.shadow,
                    feature=row.feature,
                    compared=row.compared,
                    different=row.different,
                    missing=row.missing,
                    first_at=row.first_at,
                    last_at=row.last_at,
                )
                for row in connection.execute(query)
            ]
        # Sorted here: databases differ in how they order text.
        return tuple(sorted(totals, key=lambda total: total.key))

    def check_drop(self, view: AppliedView, *, unread_for: timedelta) -> None:
        """That nothing speaks against dropping a version's online table.

        Raises: RefusedError: it is live, in canary, the shadow, pinned by an applied service or on-demand view, or was
            read within `unread_for`.
        """
        with self._database.read() as connection:
            _refuse(connection, view, unread_for)

    def release_online(
        self, view: AppliedView, *, target: str, unread_for: timedelta, actor: str | None = None
    ) -> None:
        """Forget that a version is loaded, unless something speaks against it, in one transaction.

        From then on it cannot be promoted without a load, so its table may be dropped: were that to fail, dropping is
        asked for again, and a load writes it anew.

        Raises: RefusedError: as `check_drop`.
        """
        with self._database.write() as connection:
            _refuse(connection, view, unread_for)
            loaded = (checkpoints.c.view == view.name) & (checkpoints.c.version == view.version)
            connection.execute(delete(checkpoints).where(loaded, checkpoints.c.target == target))
            record_audit(
                connection,
                actor=name_actor(actor),
                action="drop online",
                detail={
                    "view": view.reference,
                    "target": target,
                    "unread_for_seconds": int(unread_for.total_seconds()),
                },
            )


def _refuse(connection: Connection, view: AppliedView, unread_for: timedelta) -> None:
    now = read_rollout(connection, view.name)
    objections = drop_objections(connection, view, now, unread_since=utc_now() - unread_for)
    if objections:
        raise RefusedError(f"{view.online_table} is not dropped: {view.reference}: {'; '.join(objections)}")


def _record_read(connection: Connection, read: ViewRead) -> None:
    this_one = (
        (consumers.c.view == read.view)
        & (consumers.c.version == read.version)
        & (consumers.c.consumer == read.consumer)
    )
    known = connection.scalar(select(consumers.c.last_read_at).where(this_one))
    if known is None:
        connection.execute(
            insert(consumers).values(
                view=read.view, version=read.version, consumer=read.consumer, last_read_at=read.last_read_at
            )
        )
    elif known < read.last_read_at:
        connection.execute(update(consumers).where(this_one).values(last_read_at=read.last_read_at))


def _add_shadow(connection: Connection, count: ShadowCount) -> None:
    now = utc_now()
    versions = (shadow_counts.c.live == count.live) & (shadow_counts.c.shadow == count.shadow)
    this_one = (shadow_counts.c.view == count.view) & versions & (shadow_counts.c.feature == count.feature)
    added = {
        "compared": shadow_counts.c.compared + count.compared,
        "different": shadow_counts.c.different + count.different,
        "missing": shadow_counts.c.missing + count.missing,
        "last_at": now,
    }
    if connection.execute(update(shadow_counts).where(this_one).values(added)).rowcount == 0:
        connection.execute(
            insert(shadow_counts).values(
                view=count.view,
                live=count.live,
                shadow=count.shadow,
                feature=count.feature,
                compared=count.compared,
                different=count.different,
                missing=count.missing,
                first_at=now,
                last_at=now,
            )
        )
