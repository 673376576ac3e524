"""Encoded batches through the driver's own connections: routing, pools, TLS and preparing again remain the driver's."""

from typing import TYPE_CHECKING, Any

import numpy as np
from cassandra.cluster import EXEC_PROFILE_DEFAULT, ResponseFuture, Session
from cassandra.policies import HostDistance, RetryPolicy
from cassandra.protocol import BatchMessage, OverloadedErrorMessage
from cassandra.query import BatchType, PreparedStatement, Statement

from features.stores.cassandra_batches import Batch, Ring

if TYPE_CHECKING:
    from features.stores.cassandra_sending import Answer


class BatchTransport:
    """Sends batches in a session, each to the first replica of its rows that is up, then to the others."""

    def __init__(self, session: Session, keyspace: str) -> None:
        self._session = session
        self._keyspace = keyspace
        self._profile = session.get_execution_profile(EXEC_PROFILE_DEFAULT)
        self._retries = _RaiseOverload()
        self._prepared: dict[str, PreparedStatement] = {}

    def prepare(self, text: str) -> bytes:
        """The servers' name for a statement. Raises: what the driver does."""
        # Kept: with the object, the driver would forget how to prepare it on a node that restarted.
        if text not in self._prepared:
            self._prepared[text] = self._session.prepare(text)
        return bytes(self._prepared[text].query_id)

    def __call__(self, batch: Batch, answer: "Answer") -> None:
        """See `Transport`."""
        profile = self._profile
        future = ResponseFuture(
            self._session,
            _EncodedBatch(batch, profile.consistency_level),
            Statement(routing_key=batch.routing_key, keyspace=self._keyspace, is_idempotent=True),
            profile.request_timeout,
            retry_policy=self._retries,
            row_factory=profile.row_factory,
            load_balancer=profile.load_balancing_policy,
        )
        future.add_callbacks(lambda _: answer(None), answer)
        future.send_request()

    def ring(self) -> Ring:
        """The first replica of each token range, of those in the local datacenter."""
        token_map = self._session.cluster.metadata.token_map
        ends, nodes = [], []
        known: dict[Any, int] = {}
        for end in token_map.ring if token_map is not None else ():
            replicas = token_map.get_replicas(self._keyspace, end)
            local = [host for host in replicas if self._is_local(host)]
            ends.append(end.value)
            nodes.append(known.setdefault(local[0] if local else None, len(known)))
        return Ring(ends=np.array(ends, np.int64), nodes=np.array(nodes, np.int64))

    def _is_local(self, host: Any) -> bool:
        return bool(self._profile.load_balancing_policy.distance(host) == HostDistance.LOCAL)


class _EncodedBatch(BatchMessage):  # type: ignore[misc]  # the driver has no types
    """A BATCH message whose body is there already."""

    def __init__(self, batch: Batch, consistency: int) -> None:
        super().__init__(BatchType.UNLOGGED, (), consistency)
        self._batch = batch

    def send_body(self, f: Any, protocol_version: int) -> None:
        """Write the body; the version is the one that `connect` pins."""
        f.write(self._batch.body(self.consistency_level))


class _RaiseOverload(RetryPolicy):  # type: ignore[misc]  # the driver has no types
    """The driver's own rules, save that an overloaded node is no reason to burden the next one at once."""

    def on_request_error(self, query: Any, consistency: int, error: Any, retry_num: int) -> tuple[int, int | None]:
        """What to do after an error: see the driver."""
        if isinstance(error, OverloadedErrorMessage):
            return self.RETHROW, None
        decision: tuple[int, int | None] = super().on_request_error(query, consistency, error, retry_num)
        return decision
