"""What a wrong configuration looks like on a real broker: a type and a sentence, in time."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import ssl
import subprocess
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from effectmq.broker.transports.rabbitmq import RabbitTransport
from effectmq.broker.transports.settings import TransportSettings
from effectmq.protocol.errors import (
    AccessRefusedError,
    BrokerError,
    BrokerUnreachableError,
    ConfigurationError,
    EffectmqError,
    PublishError,
    PublishUnknownError,
    ReplyQueueInUseError,
    TopologyError,
    VirtualHostError,
)
from effectmq.protocol.messages.message import Message
from effectmq.protocol.topology import Binding, Exchange, Queue, Topology
from tests.brokers.node import BrokerNode, free_ports
from tests.brokers.proxy import ChaosProxy
from tests.waiting import within

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("quiet")]

QUICK = TransportSettings(connect_timeout_s=1.0)
SECRET = "pa55word-nobody-may-see"


async def refusal(work: Awaitable[object]) -> EffectmqError:
    """The error that something ends with: ours, in time, with nothing of the library attached."""
    async with asyncio.timeout(15):
        with pytest.raises(EffectmqError) as raised:
            await work
    shown = "".join(traceback.format_exception(raised.value))
    assert "aiormq.exceptions" not in shown
    assert SECRET not in shown
    return raised.value


async def connecting(url: str, settings: TransportSettings = QUICK) -> EffectmqError:
    """The error of connecting."""
    return await refusal(RabbitTransport(url, settings).__aenter__())


def with_login(url: str, login: str) -> str:
    """The same address for another user."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{login}@{parts.hostname}:{parts.port}").geturl()


@pytest.fixture(scope="module")
def limited(node: BrokerNode) -> str:
    """A user who may only touch ``ok-...`` and publish to ``seen-...``, as an address."""
    name = f"limited-{secrets.token_hex(3)}"
    node.ctl("add_user", name, SECRET)
    node.ctl("set_permissions", name, "^ok-", "^(ok-|seen-|amq.default$)", "^ok-")
    return with_login(node.url, f"{name}:{SECRET}")


@pytest.fixture(scope="module")
def closed_vhost(node: BrokerNode) -> str:
    """A virtual host that nobody has permissions in."""
    node.ctl("add_vhost", "closed")
    return "closed"


async def test_a_wrong_password_and_an_unknown_user_are_refused_logins(node: BrokerNode) -> None:
    """The broker does not say which of the two it was, and at once."""
    for login in (f"guest:{SECRET}", f"nobody:{SECRET}"):
        error = await connecting(with_login(node.url, login))

        assert type(error) is AccessRefusedError
        assert "refused the user name or password" in str(error)
        assert f"127.0.0.1:{node.port}" in str(error)


async def test_a_virtual_host_that_does_not_exist_is_named(node: BrokerNode) -> None:
    """With the command that makes one."""
    error = await connecting(f"{node.url}no%2Fsuch")

    assert type(error) is VirtualHostError
    assert "'no/such'" in str(error)
    assert "does not exist" in str(error)
    assert "add_vhost" in str(error)


async def test_a_virtual_host_closed_to_the_user_is_another_sentence(
    node: BrokerNode, closed_vhost: str
) -> None:
    """It exists; what is missing are permissions."""
    error = await connecting(f"{node.url}{closed_vhost}")

    assert type(error) is VirtualHostError
    assert "the user may not use the virtual host 'closed'" in str(error)
    assert "set_permissions" in str(error)


async def test_a_full_virtual_host_is_a_third(node: BrokerNode) -> None:
    """A connection limit passes, so it is tried again until the timeout."""
    node.ctl("add_vhost", "full")
    node.ctl("set_permissions", "-p", "full", "guest", ".*", ".*", ".*")
    node.ctl("set_vhost_limits", "-p", "full", '{"max-connections": 0}')

    error = await connecting(f"{node.url}full")

    assert type(error) is BrokerUnreachableError
    assert "takes no more connections" in str(error)


async def test_a_login_mechanism_that_the_broker_does_not_offer_is_named(node: BrokerNode) -> None:
    """A certificate as login needs a plug-in."""
    error = await connecting(f"{node.url}?auth=external")

    assert type(error) is AccessRefusedError
    assert "PLAIN" in str(error)


async def test_a_broker_that_is_not_there_is_tried_until_the_timeout() -> None:
    """A process that starts before its broker waits for it, and then says where it looked."""
    [port] = free_ports(1)
    loop = asyncio.get_running_loop()
    started = loop.time()

    async with within(3.0):
        error = await connecting(f"amqp://guest:{SECRET}@127.0.0.1:{port}/")

    assert type(error) is BrokerUnreachableError
    assert f"127.0.0.1:{port}: nothing listens there" in str(error)
    assert loop.time() - started > 0.2


async def test_a_name_that_does_not_resolve_is_another_sentence() -> None:
    """A typo in the host is not a broker that is down."""
    error = await connecting(f"amqp://guest:{SECRET}@no-such-host.invalid/")

    assert type(error) is BrokerUnreachableError
    assert "no-such-host.invalid:5672: the host name does not resolve" in str(error)


async def test_a_firewall_that_drops_is_a_third(node: BrokerNode) -> None:
    """Connected, and then nothing: the timeout ends it, however long the network would wait."""
    async with ChaosProxy.to(node.url) as proxy:
        proxy.hole()

        error = await connecting(proxy.url(node.url))

    assert type(error) is BrokerUnreachableError
    assert "no answer in time" in str(error)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Something that is no broker: it answers the first bytes, hangs up, and has this address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"amqp://guest:guest@127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"AMQP\x00\x00\x09\x01",
        b"\x01\x00\x00\x00\x00\x00\x04abcd\xce",
        b"\x01\x00\x00\xff\xff\xff\xff" + b"\xce" * 100,
        b"\x00" * 64,
        b"\xff" * 64,
    ],
    ids=["nothing", "http", "tls alert", "protocol", "bad method", "huge", "zeros", "ones"],
)
async def test_something_that_is_no_broker_is_told_apart_from_one(answer: bytes) -> None:
    """Whatever it answers, it is one error that names the place."""
    async with answering(answer) as url:
        error = await connecting(url)

    assert type(error) is BrokerUnreachableError
    assert urlsplit(url).netloc.rpartition("@")[2] in str(error)


async def test_tls_towards_a_plain_port_is_named(node: BrokerNode) -> None:
    """The broker's greeting is no TLS; the sentence says what to check."""
    error = await connecting(node.url.replace("amqp://", "amqps://"))

    assert type(error) is BrokerUnreachableError
    assert "TLS failed" in str(error)


@dataclass(frozen=True)
class Tls:
    """A TLS port in front of the broker, with a certificate for ``localhost``."""

    port: int
    certificate: Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for ``localhost``, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "certificate.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return made


@pytest.fixture
async def tls(node: BrokerNode, certificate: tuple[Path, Path]) -> AsyncIterator[Tls]:
    """The broker behind TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner = await asyncio.open_connection("127.0.0.1", node.port)
        await asyncio.gather(pump(reader, inner[1]), pump(inner[0], writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Tls(server.sockets[0].getsockname()[1], certificate[0])


async def test_a_certificate_of_an_unknown_authority_is_named(tls: Tls) -> None:
    """The sentence says where to name the authority."""
    error = await connecting(f"amqps://guest:{SECRET}@localhost:{tls.port}/")

    assert type(error) is BrokerUnreachableError
    assert "TLS failed" in str(error)
    assert "cafile" in str(error)


async def test_a_certificate_for_another_name_is_named(tls: Tls) -> None:
    """The authority is right, the host is not."""
    url = f"amqps://guest:{SECRET}@127.0.0.1:{tls.port}/?cafile={tls.certificate}"

    error = await connecting(url)

    assert type(error) is BrokerUnreachableError
    assert "host name and certificate agree" in str(error)


async def test_plain_towards_a_tls_port_names_the_other_scheme(tls: Tls) -> None:
    """The mix-up looks like any hang-up, so both causes are in the sentence."""
    error = await connecting(f"amqp://guest:{SECRET}@127.0.0.1:{tls.port}/")

    assert type(error) is BrokerUnreachableError
    assert "amqps://" in str(error)


async def test_with_the_right_authority_it_works(tls: Tls) -> None:
    """TLS is what the network sees; everything else is the same."""
    url = f"amqps://guest:guest@localhost:{tls.port}/?cafile={tls.certificate}"

    async with RabbitTransport(url) as transport:
        assert await transport.stats("no.such.queue") is None


async def test_no_permission_on_one_object_names_it(limited: str, node: BrokerNode) -> None:
    """Declaring, binding and consuming each say which object was refused, to whom."""
    mine = Queue("ok-queue", {"x-queue-type": "classic"})
    exchange = Exchange("ok-exchange", "direct")
    other = Topology(
        exchanges=(Exchange("denied-exchange", "direct"),),
        queues=(Queue("denied-queue", {"x-queue-type": "classic"}),),
    )
    async with RabbitTransport(node.url) as owner, RabbitTransport(limited) as transport:
        await owner.declare(other)
        await transport.declare(Topology(exchanges=(exchange,), queues=(mine,)))
        # What an operator has declared, and may be used, need not be declared again.
        seen = Topology(
            exchanges=(Exchange("seen-exchange", "direct"),),
            queues=(Queue("seen-queue", {"x-queue-type": "classic"}),),
        )
        await owner.declare(seen)
        await transport.declare(seen)
        missing = Topology(queues=(Queue("denied-too", {"x-queue-type": "classic"}),))
        calls: list[tuple[str, str, Callable[[], Awaitable[object]]]] = [
            ("denied-too", "configure", lambda: transport.declare(missing)),
            (
                "denied-exchange",
                "read",
                lambda: transport.declare(
                    Topology(bindings=(Binding("denied-exchange", "ok-queue", "k"),))
                ),
            ),
            (
                "denied-queue",
                "write",
                lambda: transport.declare(
                    Topology(bindings=(Binding("ok-exchange", "denied-queue", "k"),))
                ),
            ),
            ("denied-queue", "read", lambda: transport.consume("denied-queue", prefetch=1)),
            ("denied-exchange", "write", lambda: _publish(transport, "denied-exchange")),
        ]
        for name, permission, call in calls:
            error = await refusal(call())

            assert type(error) is AccessRefusedError
            user = urlsplit(limited).username
            assert (error.permission, error.user, error.vhost) == (permission, user, "/")
            assert f"'{name}'" in str(error)
            assert f"no {permission} permission" in str(error)
            assert f"rabbitmqctl set_permissions -p / {user}" in str(error)


async def _publish(transport: RabbitTransport, exchange: str) -> None:
    await transport.publish(exchange, "k", Message(body=b""))


async def test_each_publish_without_permission_says_so_and_no_other_does(
    limited: str, node: BrokerNode
) -> None:
    """It costs the channel: what was beside it is unknown, and publishing elsewhere goes on."""
    denied = Topology(exchanges=(Exchange("denied-exchange", "direct"),))
    async with RabbitTransport(node.url) as owner, RabbitTransport(limited) as transport:
        await owner.declare(denied)
        await transport.declare(Topology(queues=(Queue("ok-q", {"x-queue-type": "classic"}),)))

        async def publish(exchange: str, key: str) -> object:
            try:
                await transport.publish(exchange, key, Message(body=b""), timeout=20)
            except (PublishError, BrokerError) as problem:
                return type(problem)
            return None

        roads = [("denied-exchange", "k"), ("", "ok-q")] * 20
        ends = await asyncio.gather(*(publish(*road) for road in roads))
        assert set(ends[::2]) <= {AccessRefusedError, PublishUnknownError}
        assert AccessRefusedError in ends[::2]
        assert set(ends[1::2]) <= {None, PublishUnknownError}
        error = await refusal(transport.publish("denied-exchange", "k", Message(body=b"")))
        assert "access to exchange 'denied-exchange'" in str(error)
        await transport.publish("", "ok-q", Message(body=b""))


async def test_what_would_be_refused_is_known_without_doing_it(
    limited: str, node: BrokerNode
) -> None:
    """Nothing is published, nothing consumed, and both connections live on."""
    queues = tuple(Queue(name, {"x-queue-type": "classic"}) for name in ("ok-w", "denied-w"))
    there = Topology((Exchange("ok-x", "direct"), Exchange("denied-x", "direct")), queues)
    async with RabbitTransport(node.url) as owner, RabbitTransport(limited) as transport:
        await owner.declare(there)
        await owner.declare(Topology(bindings=(Binding("ok-x", "ok-w", "k"),)))
        found = await transport.refusals(
            publishes=[("", "ok-w"), ("ok-x", "k"), ("denied-x", "k"), ("ok-missing", "k")],
            consumes=["ok-w", "denied-w", "ok-missing"],
        )
        assert [type(each) for each in found] == [
            AccessRefusedError,
            TopologyError,
            AccessRefusedError,
            TopologyError,
        ]
        for each, text in zip(found, ("denied-x", "ok-missing", "denied-w", "ok-mis"), strict=True):
            assert text in str(each)
        stats = await owner.stats("ok-w")
        assert stats is not None
        assert (stats.ready, stats.consumers) == (0, 0)
        assert transport.counters["reconnects"] == 0


async def test_a_queue_of_another_kind_names_the_difference(
    node: BrokerNode, namespace: str
) -> None:
    """A queue that somebody made by hand: what it has, what was expected, what to do."""
    queue = f"{namespace}.q"
    async with RabbitTransport(node.url) as transport:
        await transport.declare(Topology(queues=(Queue(queue, {"x-queue-type": "classic"}),)))

        error = await refusal(
            transport.declare(
                Topology(queues=(Queue(queue, {"x-queue-type": "quorum", "x-delivery-limit": 20}),))
            )
        )

    assert type(error) is TopologyError
    for part in (
        f"queue '{queue}'",
        "expected",
        "it has",
        f"rabbitmqctl delete_queue --vhost / {queue}",
    ):
        assert part in str(error)


async def test_an_exchange_of_another_type_names_both(node: BrokerNode, namespace: str) -> None:
    """Including the command for exchanges, which is not that for queues."""
    name = f"{namespace}.x"
    async with RabbitTransport(node.url) as transport:
        await transport.declare(Topology(exchanges=(Exchange(name, "fanout"),)))

        error = await refusal(transport.declare(Topology(exchanges=(Exchange(name, "topic"),))))

    assert type(error) is TopologyError
    assert f"exchange '{name}'" in str(error)
    assert "it has 'fanout', expected 'topic'" in str(error)


async def test_a_queue_that_is_missing_says_who_declares_it(
    node: BrokerNode, namespace: str
) -> None:
    """At start; a consumer that lost its queue later waits for it instead."""
    async with RabbitTransport(node.url) as transport:
        error = await refusal(transport.consume(f"{namespace}.q", prefetch=1))

        assert type(error) is TopologyError
        assert f"{namespace}.q" in str(error)
        assert "Start a worker that declares it" in str(error)


async def test_a_second_producer_of_one_identity_is_told_so(
    node: BrokerNode, namespace: str
) -> None:
    """After the grace for a predecessor that has just died."""
    queue = f"{namespace}.reply"
    topology = Topology(queues=(Queue(queue, {"x-queue-type": "classic"}),))
    async with RabbitTransport(node.url) as first, RabbitTransport(node.url) as second:
        await first.declare(topology)
        await first.consume(queue, prefetch=1, exclusive=True)

        error = await refusal(second.consume(queue, prefetch=1, exclusive=True))

    assert type(error) is ReplyQueueInUseError
    assert "give each its own" in str(error)


async def test_what_amqp_cannot_say_is_a_mistake_of_the_caller(node: BrokerNode) -> None:
    """Names and numbers that do not fit the protocol; the connection is none the worse."""
    async with RabbitTransport(node.url) as transport:
        calls: list[Callable[[str], Awaitable[object]]] = [
            lambda name: transport.stats(name),
            lambda name: transport.consume(name, prefetch=1),
            lambda name: transport.declare(Topology(queues=(Queue(name, {}),))),
            lambda name: transport.declare(Topology(exchanges=(Exchange(name, "direct"),))),
            lambda name: transport.publish(name, "k", Message(body=b"")),
        ]
        for call in calls:
            for name in ("no;such", "x" * 256):
                assert type(await refusal(call(name))) is ConfigurationError
        for prefetch in (0, -1, 65_536):
            error = await refusal(transport.consume("q", prefetch=prefetch))
            assert type(error) is ConfigurationError
        assert transport.counters["reconnects"] == 0
        assert await transport.stats("no.such.queue") is None


async def test_a_password_changed_while_running_heals_when_it_is_right_again(
    node: BrokerNode, namespace: str
) -> None:
    """Operators rotate passwords; a process that was ready once waits for the right one."""
    user, queue = f"rotated-{secrets.token_hex(3)}", f"{namespace}.q"
    node.ctl("add_user", user, SECRET)
    node.ctl("set_permissions", user, ".*", ".*", ".*")
    url = with_login(node.url, f"{user}:{SECRET}")
    async with (
        ChaosProxy.to(url) as proxy,
        RabbitTransport(proxy.url(url), TransportSettings(reconnect_max_s=0.2)) as transport,
    ):
        await transport.declare(Topology(queues=(Queue(queue, {"x-queue-type": "classic"}),)))
        await asyncio.to_thread(node.ctl, "change_password", user, "another")
        proxy.cut()

        error = await refusal(transport.publish("", queue, Message(body=b""), timeout=2))
        if type(error) is PublishUnknownError:  # it was on its way when the line broke
            error = await refusal(transport.publish("", queue, Message(body=b""), timeout=2))

        assert type(error) is AccessRefusedError
        assert "refused the user name or password" in str(error)
        await asyncio.to_thread(node.ctl, "change_password", user, SECRET)
        await transport.publish("", queue, Message(body=b""), timeout=10)
