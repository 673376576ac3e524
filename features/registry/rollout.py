"""Rollout: which version of a view answers online, and how that is switched. Servers poll its generation.

A switch is one transaction: two at once apply one after the other, each on what the one before it left, never by half.
"""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, delete, select

from features.core import rollout as transitions
from features.core.applied import AppliedView
from features.core.references import Reference
from features.core.rollout import ServingRequest, ServingState, ViewRollout
from features.errors import RefusedError, UsageError
from features.registry.audit import Part, name_actor, record_audit
from features.registry.lookups import find_view, parse_exact
from features.registry.records import RolloutEntry, Switch
from features.registry.rollout_checks import is_loaded, promotion_objections, shadow_objections
from features.registry.rollout_resolve import resolve_serving
from features.registry.rollout_rows import read_generation, read_rollout, read_state, write_switch
from features.registry.schema import rollout_history, shadow_counts
from features.registry.state import VIEW


class Rollouts(Part):
    """Live, canary and shadow versions."""

    def serving_generation(self) -> int:
        """Which state serving is in: it grows with every switch and every apply. One cheap query, made to be polled."""
        with self._database.read() as connection:
            return read_generation(connection)

    def serving_state(self) -> ServingState:
        """What serving reads of every view, as of one moment."""
        with self._database.read() as connection:
            return read_state(connection)

    def resolve_serving(self, features: str | Sequence[str], state: ServingState | None = None) -> ServingRequest:
        """What a request stands for online: a view named without a version is its live one.

        A service named without a version is its newest applied one that live versions can answer: where it asks for a
        feature that waits for its view's promotion, the service before it answers until then. An on-demand view named
        without a version computes over the live versions of what it reads, save those that its code pins.

        Args:
            features: as for `resolve`.
            state: that versions are taken from; None: as it is now.

        Raises:
            NotFoundError: no such service, view, version or feature, or live versions lack what is asked.
            UsageError: no feature at all, the same one twice, or text that is no reference.
        """
        with self._database.read() as connection:
            return resolve_serving(connection, features, state or read_state(connection))

    def rollout(self, view: str) -> ViewRollout:
        """What serving reads of a view. Raises: NotFoundError: no such view; UsageError: it is named with a version."""
        with self._database.read() as connection:
            return read_rollout(connection, _bare_name(connection, view))

    def rollout_history(self, view: str, *, limit: int = 20) -> tuple[RolloutEntry, ...]:
        """The latest switches of a view, newest first."""
        mine = select(rollout_history).where(rollout_history.c.view == view)
        with self._database.read() as connection:
            return tuple(
                RolloutEntry(
                    at=row.at,
                    actor=row.actor,
                    action=row.action,
                    live=row.live,
                    candidate=row.candidate,
                    share=row.share,
                    shadow=row.shadow,
                    overridden=tuple(row.overridden),
                )
                for row in connection.execute(mine.order_by(rollout_history.c.ordinal.desc()).limit(limit))
            )

    def promote(
        self,
        reference: str,
        *,
        target: str,
        share: int | None = None,
        force: bool = False,
        actor: str | None = None,
    ) -> Switch:
        """Make a version answer online: for all keys, or in canary for a share of them. Doing it again changes nothing.

        Args:
            reference: `view@version`.
            target: the online store that serving reads.
            share: of keys, in basis points; None: all, so that the version becomes live and a canary ends.
            force: switch although the version is not loaded up to its log, has other join keys than the live one, or
                lacks features that services or on-demand views ask of it.
            actor: for the audit log; None names the user of this process.

        Raises:
            RefusedError: one of these holds and is not forced, or another version is in canary.
            NotFoundError: no such version. UsageError: no version is named, or the share is out of range.
        """

        def switch(connection: Connection) -> tuple[ViewRollout, str, tuple[str, ...]]:
            view, now = _version(connection, reference), _rollout_of(connection, reference)
            after = (
                transitions.promote(now, view.version)
                if share is None
                else transitions.start_canary(now, view.version, share)
            )
            objections = promotion_objections(connection, view, now, target=target) if after != now else ()
            if objections and not force:
                raise RefusedError(
                    f"{view.reference} is not promoted: {'; '.join(objections)}. --force promotes it all the same"
                )
            return after, "promote" if share is None else "canary", objections

        return self._switch(reference, switch, actor=actor)

    def rollback(self, view: str, *, target: str, actor: str | None = None) -> Switch:
        """End a view's canary or, where there is none, make the version live again that was live before.

        Raises:
            RefusedError: there is neither, or nothing of that version is in the online store any more.
            NotFoundError: no such view. UsageError: it is named with a version.
        """

        def switch(connection: Connection) -> tuple[ViewRollout, str, tuple[str, ...]]:
            now = read_rollout(connection, _bare_name(connection, view))
            after = transitions.roll_back(now)
            back = find_view(connection, Reference(view, after.live))
            if after.live != now.live and not is_loaded(connection, back, target=target):
                raise RefusedError(
                    f"{view} is not rolled back: {back.reference} is not loaded into {target}; run `features load "
                    f"{back.reference}`, or promote another version"
                )
            return after, "end canary" if after.live == now.live else "rollback", ()

        return self._switch(view, switch, actor=actor)

    def set_shadow(self, reference: str, *, target: str, off: bool = False, actor: str | None = None) -> Switch:
        """Have serving read a version beside the live one and count how they differ; or stop that.

        Switched on, its counts start from zero.

        Args:
            reference: `view@version`; to stop it, a view's name will do.
            target: the online store that serving reads.
            off: stop.
            actor: for the audit log; None names the user of this process.

        Raises:
            RefusedError: the version is live, has other join keys than the live one, or was never loaded.
            NotFoundError: no such version. UsageError: no version is named, or another one is the shadow.
        """

        def switch(connection: Connection) -> tuple[ViewRollout, str, tuple[str, ...]]:
            now = _rollout_of(connection, reference)
            if off:
                named = parse_exact(reference, kind=VIEW).version
                if now.shadow is not None and named not in (None, now.shadow):
                    raise UsageError(f"{now.refer(named or 0)} is no shadow; {now.refer(now.shadow)} is")
                return transitions.set_shadow(now, None), "shadow", ()
            view = _version(connection, reference)
            after = transitions.set_shadow(now, view.version)
            if objections := shadow_objections(connection, view, now, target=target):
                raise RefusedError(f"{view.reference} cannot be a shadow: {'; '.join(objections)}")
            if after != now:
                mine = (shadow_counts.c.view == view.name) & (shadow_counts.c.shadow == view.version)
                connection.execute(delete(shadow_counts).where(mine))
            return after, "shadow", ()

        return self._switch(reference, switch, actor=actor)

    def _switch(
        self,
        reference: str,
        decide: Callable[[Connection], tuple[ViewRollout, str, tuple[str, ...]]],
        *,
        actor: str | None,
    ) -> Switch:
        """Keep what `decide` makes of a view's rollout, and who decided; a rollout that it leaves is left."""
        by = name_actor(actor)
        with self._database.write() as connection:
            now = _rollout_of(connection, reference)
            after, action, objections = decide(connection)
            switch = Switch(before=now, after=after, overridden=objections)
            if switch.changed:
                write_switch(connection, switch, action=action, actor=by)
                detail = {
                    "view": now.view,
                    "before": _plain(now),
                    "after": _plain(after),
                    "overridden": list(objections),
                }
                record_audit(connection, actor=by, action=action, detail=detail)
        return switch


def _plain(rollout: ViewRollout) -> dict[str, int | None]:
    return {name: getattr(rollout, name) for name in ("live", "candidate", "share", "shadow")}


def _bare_name(connection: Connection, text: str) -> str:
    """The name of a view that was applied. Raises: UsageError: it is named with a version; NotFoundError."""
    parsed = parse_exact(text, kind=VIEW)
    if parsed.version is not None:
        raise UsageError(f"{text!r} names a version; give the view: {parsed.name!r}")
    find_view(connection, parsed)
    return parsed.name


def _version(connection: Connection, reference: str) -> AppliedView:
    """The version that a reference names. Raises: UsageError: it names none; NotFoundError."""
    parsed = parse_exact(reference, kind=VIEW)
    view = find_view(connection, parsed)
    if parsed.version is None:
        raise UsageError(f"{reference!r} names no version; write it, such as {view.reference}")
    return view


def _rollout_of(connection: Connection, reference: str) -> ViewRollout:
    """The rollout of the view that a reference names. Raises: UsageError, NotFoundError."""
    parsed = parse_exact(reference, kind=VIEW)
    find_view(connection, parsed)
    return read_rollout(connection, parsed.name)
