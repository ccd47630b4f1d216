"""
An effect on its way to a worker: the envelope, and the data beside it.

``Request.seal`` is the producer's side, ``read_request`` the worker's. The broker is between them,
so ``read_request`` trusts nothing: it checks the size, the encoding, the shape, the rules of the
envelope and the hash, in this order, and each has its own error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from effectmq.protocol.encoding.canonical import canonical_json, sha256_hex, tree_of
from effectmq.protocol.encoding.codec import (
    MSGPACK,
    Limits,
    assumed_tree,
    decode_tree,
    encode_plain,
)
from effectmq.protocol.encoding.content_types import JSON, recognised
from effectmq.protocol.encoding.jsontext import parse_json
from effectmq.protocol.encoding.limits import DEFAULT_LIMITS, is_sound
from effectmq.protocol.encoding.opaque import JsonValue
from effectmq.protocol.encoding.serde.model import canonical_bytes, from_tree, to_tree
from effectmq.protocol.errors import (
    HashMismatchError,
    MalformedError,
    PayloadTooLargeError,
    ProtocolError,
    UnsupportedVersionError,
)
from effectmq.protocol.exact.envelopes import read_envelope, write_envelope
from effectmq.protocol.identity.digests import effect_scope_id_of, scope_id
from effectmq.protocol.identity.validation import validate_envelope, validate_scope
from effectmq.protocol.messages import headers as names
from effectmq.protocol.messages.body_reference import accepts_out_of_line, refuse_reference
from effectmq.protocol.messages.chosen.priority import NORMAL, Priority, read_priority
from effectmq.protocol.messages.chosen.tenant import read_tenant
from effectmq.protocol.messages.chosen.version import read_version
from effectmq.protocol.messages.message import HeaderValue, Message
from effectmq.protocol.messages.unknown import NOTHING_UNKNOWN, Unknown, unknown_members
from effectmq.protocol.wire.envelope import RuntimeEffectEnvelope
from effectmq.protocol.wire.invocation import RuntimeSubjectEffect
from effectmq.protocol.wire.scopes import EffectScope

if TYPE_CHECKING:
    from effectmq.protocol.messages.chosen.debounce import Debounce

__all__ = [
    "COUNTS",
    "ENVELOPE_TYPE",
    "Identity",
    "Request",
    "correlation",
    "known_sha256",
    "read_request",
]

#: The AMQP ``type`` of a message that carries one envelope.
ENVELOPE_TYPE = "effect.envelope.v1"

#: AMQP short strings hold 255 bytes; a longer effect id is sent as its digest. Nothing depends on
#: it, because replies are matched by their bodies.
_MAX_SHORT_BYTES = 255
#: The header is only for reading a message without decoding it; the body has the whole key.
_MAX_KEY_HEADER_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Identity:
    """What makes two requests the same effect for ever: the scope id and the replay key."""

    scope_id: str
    replay_key: str


@dataclass(frozen=True, slots=True)
class Request:
    """
    One effect, ready to be sent, or just arrived.

    Attributes:
        envelope: The effect itself.
        hash: SHA-256 of the canonical envelope, lowercase hex.
        message: The message; a retry, a delay or a dead letter publishes its body again.
        kind: The effect kind.
        effect_id: The effect's id inside its scope.
        identity: Scope id and replay key.
        tenant: For whom it is done; empty when nobody said.
        version: The version of workers that it is bound to; empty for none.
        priority: Which of those that wait is taken first.
        attempt: The number of the attempt, from 1.
        first_seen_ms: When a worker first saw it, Unix milliseconds; 0 when none has.
        deadline_ms: When the outcome is no longer wanted, Unix milliseconds; 0 for never.
        not_before_ms: When a worker may begin it, Unix milliseconds; 0 for at once.
        due_ms: When a sleep ends, Unix milliseconds; 0 when not fixed yet.
        crashes: How often the broker gave up on delivering it.
        deaths: How many workers died while they held it.
        former_deaths: How many died before its dead letter was replayed.
        elsewhere: How many workers gave it back, because they lack what it needs.
        elsewhere_since_ms: When the first of them did, Unix milliseconds; 0 when none has.
        parked_as: For a replayed dead letter: the number of the parking that it came from.
        debounce: With which others only the last runs; ``None`` for none.
        ignored: Members that were sent and that this version does not know. They are looked for
            only when no hash was sent: a hash that matches shows that they do not matter.
        kept_canonical: The canonical envelope where it is kept; ask ``canonical`` for it.
    """

    envelope: RuntimeEffectEnvelope
    hash: str
    message: Message
    kind: str
    effect_id: str
    identity: Identity
    tenant: str = ""
    version: str = ""
    priority: Priority = NORMAL
    attempt: int = 1
    first_seen_ms: int = 0
    deadline_ms: int = 0
    not_before_ms: int = 0
    due_ms: int = 0
    crashes: int = 0
    deaths: int = 0
    former_deaths: int = 0
    elsewhere: int = 0
    elsewhere_since_ms: int = 0
    parked_as: int = 0
    debounce: Debounce | None = None
    ignored: Unknown = NOTHING_UNKNOWN
    kept_canonical: bytes = field(default=b"", repr=False, compare=False)

    @property
    def replay_key(self) -> str:
        """The key that names this effect for ever inside its scope."""
        return self.identity.replay_key

    @property
    def canonical(self) -> bytes:
        """
        The canonical envelope; ``hash`` is its hash.

        A sealed request that has another body makes it from that again: a producer hardly needs it,
        and thousands of requests may wait for their answers.
        """
        if self.kept_canonical:
            return self.kept_canonical
        body, content_type = self.message.body, self.message.content_type
        return canonical_json(decode_tree(body, content_type, Limits(max_body_bytes=len(body))))

    @classmethod
    def seal(
        cls,
        envelope: RuntimeEffectEnvelope,
        *,
        reply_to: str = "",
        content_type: str = MSGPACK,
        scope: EffectScope | None = None,
        tenant: str = "",
        version: str = "",
        priority: Priority = NORMAL,
        deadline_ms: int = 0,
        not_before_ms: int = 0,
        debounce: Debounce | None = None,
        timestamp_s: int = 0,
        traceparent: str = "",
        tracestate: str = "",
        out_of_line: bool = False,
        stored_above: int = 0,
        limits: Limits | None = None,
    ) -> Request:
        """
        Validate an envelope, hash it, and make its message.

        Args:
            envelope: The effect.
            reply_to: The queue for the outcome.
            content_type: The encoding of the body; the reply has the same.
            scope: The effect scope, when it is not the one derived from the invocation.
            tenant: For whom it is done, as ``checked_tenant`` gives it; empty for nobody.
            version: The version of workers that it is bound to, as ``checked_version`` gives it;
                empty for none.
            priority: Which of those that wait is taken first.
            deadline_ms: When the outcome is no longer wanted, Unix milliseconds; 0 for never.
            not_before_ms: When a worker may begin it, Unix milliseconds; 0 for at once.
            debounce: With which others only the last runs; ``None`` for none.
            timestamp_s: The time of publishing, Unix seconds.
            traceparent: W3C trace context to pass on.
            tracestate: W3C trace state to pass on.
            out_of_line: Whether the outcome may be kept out of line; see ``body_reference``.
            stored_above: The size in bytes above which the body is kept out of line; 0 for never.
                Then the body is the canonical envelope, whatever the content type was to be: its
                hash is that of the effect, so nothing is hashed or written twice.
            limits: The size limit.

        Raises:
            InvalidEnvelopeError: When a rule of the envelope or of the scope is broken.
            PayloadTooLargeError: When it is over the size cap, or the scope does not fit a header.
        """
        tree, canonical = write_envelope(envelope) or _written(envelope)
        hash_ = sha256_hex(canonical)
        cap = (limits or DEFAULT_LIMITS).max_body_bytes
        if _is_kept_as_text(len(canonical), stored_above, cap):
            content_type = JSON
        body = _body(envelope, tree, canonical, content_type, cap)
        kind, effect_id, key = _subject(envelope)
        headers: dict[str, HeaderValue] = {names.HASH: hash_}
        if len(key.encode()) <= _MAX_KEY_HEADER_BYTES:
            headers[names.REPLAY_KEY] = key
        if scope is not None:
            headers[names.SCOPE] = _scope_header(scope)
        beside: tuple[tuple[str, HeaderValue], ...] = (
            (names.TENANT, tenant),
            (names.VERSION, version),
            (names.PRIORITY, "" if priority == NORMAL else priority),
            (names.DEADLINE, deadline_ms),
            (names.NOT_BEFORE, not_before_ms),
        )
        for name, value in beside:
            if value:
                headers[name] = value
        if debounce is not None:
            headers[names.DEBOUNCE] = debounce.key
            headers[names.DEBOUNCE_AT] = debounce.at_ms
            headers[names.DEBOUNCE_MAX] = debounce.max_ms
        if traceparent:
            headers[names.TRACEPARENT] = traceparent
            if tracestate:
                headers[names.TRACESTATE] = tracestate
        if out_of_line:
            headers[names.OUT_OF_LINE] = True
        message = Message(
            body=body,
            content_type=content_type,
            type=ENVELOPE_TYPE,
            correlation_id=correlation(effect_id),
            reply_to=reply_to,
            timestamp=timestamp_s,
            headers=headers,
        )
        where = effect_scope_id_of(envelope.invocation) if scope is None else scope_id(scope)
        return cls(
            envelope,
            hash_,
            message,
            kind,
            effect_id,
            Identity(where, key),
            tenant,
            version,
            priority,
            deadline_ms=deadline_ms,
            not_before_ms=not_before_ms,
            debounce=debounce,
            kept_canonical=canonical if body is canonical else b"",
        )

    def note_first_seen(self, now_ms: int) -> None:
        """
        Note when a worker first saw this effect, unless one did before.

        The only change in place, for whoever has the only reference: a copy takes a hundred times
        as long, and every effect is seen for the first time.
        """
        if not self.first_seen_ms:
            _set_first_seen(self, now_ms)

    def undebounced(self) -> Request:
        """The same effect, whose place nobody takes any more."""
        from effectmq.protocol.messages.chosen.debounce import without_debounce

        message = replace(self.message, headers=without_debounce(self.message.headers))
        return replace(self, message=message, debounce=None)

    def changed(self, counts: Mapping[str, int]) -> Request:
        """
        The same effect with some of its counts changed, ready for another publish.

        Every copy of an effect is made here, so that none loses a count: counts that are known by
        now, from the journal or from the deliveries, are added to those that the message had.

        Args:
            counts: New values by name, see ``COUNTS``.
        """
        fields: dict[str, Any] = {COUNTS[name][0]: value for name, value in counts.items()}
        known = replace(self, **fields)
        headers = names.carried(self.message.headers)
        for name, header, nothing in COUNTS.values():
            value: int = getattr(known, name)
            if value != nothing:
                headers[header] = value
            else:
                headers.pop(header, None)
        message = replace(self.message, message_id="", returns=0, headers=headers)
        return replace(known, message=message)


_set_first_seen: Callable[[Request, int], None] = vars(Request)["first_seen_ms"].__set__

#: The counts of an effect on its way: the name, the field of a request, the header that carries it,
#: and the value that need not be carried.
COUNTS = {
    "attempt": ("attempt", names.ATTEMPT, 1),
    "first_seen": ("first_seen_ms", names.FIRST_SEEN, 0),
    "deadline": ("deadline_ms", names.DEADLINE, 0),
    "not_before": ("not_before_ms", names.NOT_BEFORE, 0),
    "due": ("due_ms", names.DUE, 0),
    "crashes": ("crashes", names.CRASHES, 0),
    "deaths": ("deaths", names.DEATHS, 0),
    "former_deaths": ("former_deaths", names.FORMER_DEATHS, 0),
    "elsewhere": ("elsewhere", names.ELSEWHERE, 0),
    "elsewhere_since": ("elsewhere_since_ms", names.ELSEWHERE_SINCE, 0),
    "parked_as": ("parked_as", names.PARK_NUMBER, 0),
}


#: Headers that are texts and are only passed on.
_TEXTS = (names.REPLAY_KEY, names.TRACEPARENT, names.TRACESTATE, names.LAST_ATTEMPT)


def read_request(
    message: Message, limits: Limits | None = None, *, body_sha256: str = ""
) -> Request:
    """
    Read a request that may come from a stranger.

    Args:
        message: What arrived.
        limits: What is accepted.
        body_sha256: The SHA-256 of the body, lowercase hex, by whoever has computed it just now; a
            body that is the canonical envelope is not hashed again.

    Raises:
        UnsupportedVersionError: When the message type is another one.
        MalformedError: When the body or a header is invalid; carries the path.
        InvalidEnvelopeError: When the envelope, or the scope sent with it, breaks a rule; carries
            the code.
        HashMismatchError: When a hash was sent and it is not that of the envelope.
    """
    if message.type not in ("", ENVELOPE_TYPE):
        raise UnsupportedVersionError(message.type, ENVELOPE_TYPE)
    refuse_reference(message)
    content_type = message.content_type or recognised(message.body)
    limits = limits or DEFAULT_LIMITS
    tree: JsonValue = None
    envelope = _read_canonical(message.body, limits) if content_type == JSON else None
    if envelope is not None:
        exact, canonical, hash_ = True, message.body, body_sha256 or sha256_hex(message.body)
    else:
        tree = decode_tree(message.body, content_type, limits)
        # The hash is that of the canonical form, so it is computed from the decoded envelope, not
        # from the received bytes: member order and unknown members do not change an effect.
        found = read_envelope(tree)
        exact = found is not None
        envelope, canonical = found or _read(tree)
        hash_ = sha256_hex(canonical)
    headers = message.headers
    claimed = names.text(headers, names.HASH)
    known = exact or claimed == hash_
    ignored = NOTHING_UNKNOWN if known else unknown_members(envelope, tree)
    if claimed and claimed != hash_:
        raise HashMismatchError(claimed, hash_, str(ignored))
    kind, effect_id, key = _subject(envelope)
    for name in _TEXTS:
        if name in headers:
            names.text(headers, name)
    accepts_out_of_line(message)
    return Request(
        envelope,
        hash_,
        message,
        kind,
        effect_id,
        Identity(_scope_id(message, envelope), key),
        read_tenant(headers) if names.TENANT in headers else "",
        read_version(headers) if names.VERSION in headers else "",
        read_priority(headers) if names.PRIORITY in headers else NORMAL,
        kept_canonical=canonical,
        debounce=_debounce(headers) if names.DEBOUNCE in headers else None,
        ignored=ignored,
        **{
            count: max(nothing, names.integer(headers, header, nothing))
            for count, header, nothing in COUNTS.values()
            if header in headers
        },
    )


def known_sha256(sealed: Message) -> str:
    """
    The SHA-256 of the body of a message that ``Request.seal`` has made in this process.

    Returns:
        Lowercase hex; empty when it is not known. A body of JSON is the canonical envelope, whose
        hash the message has.
    """
    return names.text(sealed.headers, names.HASH) if sealed.content_type == JSON else ""


def correlation(effect_id: str) -> str:
    """The AMQP ``correlation_id`` of an effect: its id, or its digest when that is too long."""
    if len(effect_id.encode()) <= _MAX_SHORT_BYTES:
        return effect_id
    return f"sha256:{sha256_hex(effect_id.encode())}"


def _written(envelope: RuntimeEffectEnvelope) -> tuple[JsonValue, bytes]:
    """The tree and the canonical bytes of an envelope, by its models."""
    validate_envelope(envelope)
    # What is not finite is found when the body is made, which looks at each number anyway.
    canonical = canonical_bytes(envelope, finite=True)
    # It is cheaper to get the tree from the text than from the model.
    return tree_of(canonical), canonical


def _is_kept_as_text(size: int, stored_above: int, cap: int) -> bool:
    """Whether the body is the canonical text; when this is too large, the other form may not be."""
    return 0 < stored_above < size <= cap


def _body(
    envelope: RuntimeEffectEnvelope,
    tree: JsonValue,
    canonical: bytes,
    content_type: str,
    cap: int,
) -> bytes:
    try:
        if content_type == JSON and is_sound(tree, DEFAULT_LIMITS):
            body = canonical
        else:
            body = encode_plain(tree, content_type)
    except MalformedError:
        # A number in a model that is not finite is refused with the name of its member.
        canonical_bytes(envelope)
        raise
    if len(body) > cap:
        raise PayloadTooLargeError("the envelope", len(body), cap)
    return body


def _read_canonical(body: bytes, limits: Limits) -> RuntimeEffectEnvelope | None:
    """The envelope whose canonical text is the body; ``None`` when it is another text, or none."""
    tree = assumed_tree(body, limits)
    if tree is None:
        return None
    try:
        envelope, canonical = read_envelope(tree) or _read(tree)
    except ProtocolError:
        # ``decode_tree`` may read it otherwise, and has the sentences.
        return None
    return envelope if canonical == body else None


def _read(tree: JsonValue) -> tuple[RuntimeEffectEnvelope, bytes]:
    """The envelope of a tree and its canonical bytes, by the models."""
    envelope = from_tree(RuntimeEffectEnvelope, tree)
    validate_envelope(envelope)
    # The decoder has let finite numbers through only.
    return envelope, canonical_bytes(envelope, finite=True)


def _subject(envelope: RuntimeEffectEnvelope) -> tuple[str, str, str]:
    """Kind, effect id and replay key of an envelope that has passed validation."""
    subject, replay = envelope.invocation.subject, envelope.invocation.replay
    if not isinstance(subject, RuntimeSubjectEffect) or replay is None:
        raise MalformedError("invocation", "found no effect with a replay key")
    return subject.kind, subject.effect_id, replay.key


def _debounce(headers: Mapping[str, HeaderValue]) -> Debounce:
    """How it is debounced; few workers ever load what reads that."""
    from effectmq.protocol.messages.chosen.debounce import read_debounce

    return read_debounce(headers)


def _scope_id(message: Message, envelope: RuntimeEffectEnvelope) -> str:
    given = names.text(message.headers, names.SCOPE)
    if not given:
        return effect_scope_id_of(envelope.invocation)
    size = len(given.encode(errors="replace"))
    if size > names.MAX_SCOPE_BYTES:
        raise MalformedError(
            names.SCOPE, f"found {size} bytes, expected at most {names.MAX_SCOPE_BYTES}"
        )
    try:
        scope: EffectScope = from_tree(EffectScope, parse_json(given))
    except MalformedError as problem:
        raise MalformedError(names.SCOPE, str(problem)) from None
    validate_scope(scope)
    return scope_id(scope)


def _scope_header(scope: EffectScope) -> str:
    validate_scope(scope)
    header = canonical_json(to_tree(scope))
    if len(header) > names.MAX_SCOPE_BYTES:
        raise PayloadTooLargeError("the effect scope", len(header), names.MAX_SCOPE_BYTES)
    return header.decode()
