"""Where reads of features are refused that are too many, before anything is made for them."""

from collections.abc import Callable, Sequence

import msgspec

from features.serving.http.admission import Admission
from features.serving.http.exchange import Answer, Exchange, answer_headers
from features.serving.http.messages import ErrorAnswer
from features.serving.http.metrics import Metrics
from features.serving.http.openapi import FEATURES_PATH
from features.serving.http.refusals import OVERLOADED, RETRY
from features.serving.http.rendering import JSON

# The ASGI extension that tells of a request that it was let in already.
ADMITTED = "features.admitted"
_REFUSAL = Answer(503, msgspec.json.encode(ErrorAnswer(detail=OVERLOADED)), JSON, RETRY)


class Gate:
    """Lets requests in, as far as the admission does; counts and logs those that it refuses, as others are.

    Whoever has a request that was let in must `Admission.leave`. Keys are not looked at: who is refused need not know
    whether theirs is right.

    tell: called with each request that is refused, and its status.
    """

    method = b"POST"
    path = FEATURES_PATH.encode()

    def __init__(self, admission: Admission, metrics: Metrics, tell: Callable[[Exchange, int], None]) -> None:
        self._metrics = metrics
        self._tell = tell
        self.enter = admission.enter

    def refuse(self, headers: Sequence[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers and body of the answer, whose status is 503, to a request that came as a whole with these headers."""
        exchange = Exchange.of({"method": self.method.decode(), "path": FEATURES_PATH, "headers": headers})
        exchange.body_read = True
        self._metrics.count_refused("overload")
        self._tell(exchange, _REFUSAL.status)
        return answer_headers(_REFUSAL, exchange), _REFUSAL.body
