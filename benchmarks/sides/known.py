"""The sides by name: where the client is, how a worker starts, what it says when it is ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.sides.spec import Spec

__all__ = ["SIDES", "How"]


@dataclass(frozen=True)
class How:
    """
    How a side is started.

    Attributes:
        client: ``module:class``; by name, because importing one side must not import another.
        worker: The words after the interpreter that start a worker.
        ready: What a worker says when it takes requests.
    """

    client: str
    worker: Callable[[Spec], list[str]]
    ready: str


def _ours(spec: Spec) -> list[str]:
    module = "benchmarks.sides.uvloop_worker" if spec.uvloop else "effectmq"
    return [
        *("-m", module, "worker", "benchmarks.sides.app:app"),
        *("--broker", spec.broker, "--namespace", spec.namespace, "--journal", spec.journal),
        *("--attachments", spec.attachments, "--concurrency", str(spec.prefetch)),
        *("--traces", "on" if spec.traces else "off"),
        # The others say nothing of single requests either; the line of the start stays.
        *("--log-every", "0", "--log-level", "INFO"),
    ]


def _plain(spec: Spec) -> list[str]:
    return ["-m", "benchmarks.sides.plain", spec.line()]


# Each peer has one process that runs its tasks. celery, dramatiq and taskiq start one more that
# watches it; celery's also takes the messages.


def _celery(spec: Spec) -> list[str]:
    words = ["-m", "celery", "-A", "benchmarks.peers.apps.of_celery", "worker"]
    words += ["--hostname", f"{spec.namespace}@%h", "--concurrency", "1"]
    return [*words, "--loglevel", "INFO", "--without-mingle"]


def _dramatiq(spec: Spec) -> list[str]:
    return ["-m", "dramatiq", "benchmarks.peers.apps.of_dramatiq", "--processes", "1"]


def _taskiq(spec: Spec) -> list[str]:
    words = ["-m", "taskiq", "worker", "benchmarks.peers.apps.of_taskiq:broker", "--workers", "1"]
    return [*words, "--max-async-tasks", str(spec.prefetch), "--log-level", "INFO"]


def _faststream(spec: Spec) -> list[str]:
    return ["-m", "faststream", "run", "benchmarks.peers.apps.of_faststream:app"]


_APPS = "benchmarks.peers.apps"

SIDES: Mapping[str, How] = {
    "plain": How("benchmarks.sides.plain:PlainClient", _plain, "ready"),
    "ours": How("benchmarks.sides.ours:OurClient", _ours, "consumes"),
    "recorded": How("benchmarks.sides.ours:RecordedClient", _ours, "consumes"),
    "map": How("benchmarks.sides.lists:MappingClient", _ours, "consumes"),
    "gather": How("benchmarks.sides.lists:GatheringClient", _ours, "consumes"),
    "submit_many": How("benchmarks.sides.lists:SubmittingManyClient", _ours, "consumes"),
    "submit": How("benchmarks.sides.lists:SubmittingClient", _ours, "consumes"),
    "celery": How(f"{_APPS}.of_celery:CeleryClient", _celery, "ready."),
    "dramatiq": How(f"{_APPS}.of_dramatiq:DramatiqClient", _dramatiq, "ready for action"),
    "taskiq": How(f"{_APPS}.of_taskiq:TaskiqClient", _taskiq, "Listening started"),
    "faststream": How(f"{_APPS}.of_faststream:FaststreamClient", _faststream, "started"),
}
