"""What is installed: every module of every room, and nothing loaded that was not asked for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "protocol": "effectmq/protocol",
    "broker": "effectmq/broker",
    "consumers": "effectmq/consumers",
    "src/effectmq": "effectmq",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree; without network, the backend is a development dependency."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = folder.glob("*.whl")
    return built


def modules() -> set[str]:
    """Where each module of the tree belongs in the wheel; links are not followed."""
    found = set()
    for folder, home in ROOMS.items():
        for path in (ROOT / folder).rglob("*.py"):
            inside = path.relative_to(ROOT / folder)
            if not any((ROOT / folder / parent).is_symlink() for parent in inside.parents):
                found.add(f"{home}/{inside.as_posix()}")
    return found


def test_every_module_of_every_room_is_in_the_wheel_once(wheel: Path) -> None:
    """The rooms lie side by side in the repository and under one name in the wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    assert {name for name in names if name.endswith(".py")} == modules()
    assert "effectmq/py.typed" in names
    outside = [name for name in names if not name.startswith(("effectmq/", "effectmq-"))]
    assert outside == []


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked where Python finds it before the tree."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run(site: Path, program: str) -> str:
    """Run a program that finds the wheel only."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=site,
        env={"PYTHONPATH": str(site), "PATH": "", "XDG_STATE_HOME": str(site / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_does_not_load_the_amqp_client(installed: Path) -> None:
    """Nor does anything in memory: a program without a server does not wait for one to load."""
    program = """
import sys, asyncio, effectmq
print(effectmq.__file__)
def loaded():
    return sorted(sys.modules.keys() & {"aio_pika", "aiormq", "pamqp"})
assert not loaded(), loaded()
app = effectmq.Worker()
@app.tool
async def add(a: int, b: int) -> int:
    return a + b
async def main():
    async with app, effectmq.Client() as client:
        outcome = await client.turn("s", "t").tool_call("add", {"a": 1, "b": 2}, call_id="c")
        print(outcome.result.output.outcome.payload)
asyncio.run(main())
assert not loaded(), loaded()
"""
    where, answer = run(installed, program).splitlines()
    assert where.startswith(str(installed))
    assert answer == "3"


def test_one_module_of_the_protocol_does_not_load_the_others(installed: Path) -> None:
    """Names of the package are loaded when they are asked for."""
    program = """
import sys, effectmq.protocol.kinds
print([name for name in sys.modules if name.startswith("effectmq.protocol.wire")])
"""
    assert run(installed, program) == "[]"
