"""What GitHub, Docker and pre-commit read is what they understand, and agrees with the project."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from effectmq.cli.program.loading import load_worker
from effectmq.consumers.llm.models import DEFAULT_KEY_VARIABLES
from effectmq.protocol.kinds import EFFECT_KINDS

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COMPOSE = ROOT / "docker-compose.yml"
OVERRIDE = ROOT / "examples/compose/docker-compose.override.yml"

#: Each file with the schema that check-jsonschema brings along for it; nothing is fetched.
_FILES = {
    ".github/workflows/ci.yml": "github-workflows",
    ".github/dependabot.yml": "dependabot",
    ".github/ISSUE_TEMPLATE/bug.yml": "github-issue-forms",
    ".github/ISSUE_TEMPLATE/idea.yml": "github-issue-forms",
    ".github/ISSUE_TEMPLATE/config.yml": "github-issue-config",
    "docker-compose.yml": "compose-spec",
    "examples/compose/docker-compose.override.yml": "compose-spec",
}


def read(path: str | Path) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def run(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", _FILES)
def test_a_file_for_a_host_has_the_form_that_it_expects(file: str) -> None:
    """A slip in one of them is seen by nobody until it is pushed."""
    run("check_jsonschema", "--builtin-schema", f"vendor.{_FILES[file]}", file)


def test_every_file_of_that_sort_is_looked_at() -> None:
    found = {
        str(path.relative_to(ROOT))
        for folder in (ROOT / ".github", ROOT / "examples/compose")
        for path in folder.rglob("*.yml")
    }
    assert found <= set(_FILES)


def test_the_hooks_can_be_read_and_their_tools_are_developers_tools() -> None:
    """A hook whose program nobody has stops every commit."""
    run("pre_commit", "validate-config")
    for hook in read(".pre-commit-config.yaml")["repos"][0]["hooks"]:
        program = hook["entry"].split()[0]
        assert (Path(sys.executable).parent / Path(program).name).exists(), program


def jobs() -> dict[str, Any]:
    found: dict[str, Any] = read(".github/workflows/ci.yml")["jobs"]
    return found


def test_ci_runs_every_python_that_is_promised() -> None:
    """What the package says of itself is what is tested."""
    promised = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert PROJECT["requires-python"] == f">={promised[0]}"
    for job in ("test", "package"):
        assert jobs()[job]["strategy"]["matrix"]["python"] == promised


def test_what_ci_calls_is_there() -> None:
    """Targets of the Makefile and scripts, by their names, and only markers that exist."""
    commands = "\n".join(step.get("run", "") for job in jobs().values() for step in job["steps"])
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"\bmake (\w+)", commands)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in re.findall(r"(?:scripts|\.ci)/[\w.]+", commands):
        assert (ROOT / script).exists(), script
    marked = " ".join(re.findall(r'-m "(.*?)"', commands))
    known = PYTEST_MARKERS | {"and", "or", "not"}
    assert set(re.findall(r"\w+", marked)) <= known


PYTEST_MARKERS = {
    line.partition(":")[0]
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"][
        "ini_options"
    ]["markers"]
}


def test_every_test_runs_in_some_job_that_has_what_it_needs() -> None:
    """The two selections of single jobs leave only what kills servers, and that is `.ci/run`'s."""
    commands = [step.get("run", "") for job in jobs().values() for step in job["steps"]]
    selections = re.findall(r'-m "(.*?)"', " ".join(commands))
    assert selections == [
        "not rabbitmq and not postgres and not own_server",
        "(rabbitmq or postgres) and not own_server",
    ]
    assert ".ci/run" in commands


def images(document: Any) -> list[str]:
    """Every image that a document of Compose or of a workflow names, at whatever depth."""
    if isinstance(document, dict):
        here = document.get("image")
        return ([here] if isinstance(here, str) else []) + [
            image for value in document.values() for image in images(value)
        ]
    if isinstance(document, list):
        return [image for value in document for image in images(value)]
    return []


def test_images_of_others_are_pinned_to_a_release() -> None:
    """An image without one is another image next week; what is built here needs none."""
    base = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    workflow = [each for each in images(read(".github/workflows/ci.yml")) if "${{" not in each]
    named = [*base, *workflow, *images(read(COMPOSE))]
    others = {image for image in named if image != "effectmq-worker"}
    assert len(others) >= 4
    assert [image for image in others if not re.search(r":v?\d+\.\d+", image)] == []


def test_compose_has_a_service_for_each_kind_and_one_build() -> None:
    """Built once: what eight services build is built eight times."""
    services = read(COMPOSE)["services"]
    others = {"rabbitmq", "postgres", "topology", "dashboard", "prometheus", "grafana"}
    assert set(services) - others == set(EFFECT_KINDS)
    assert [name for name, service in services.items() if "build" in service] == ["topology"]
    for kind in EFFECT_KINDS:
        assert services[kind]["command"][-2:] == ["--kind", kind]
        assert services[kind]["pull_policy"] == "never"
        assert services[kind]["ulimits"]["nofile"] >= 65536
        assert services[kind]["healthcheck"]
    assert services["rabbitmq"]["ulimits"]["nofile"] >= 65536


def test_compose_passes_the_keys_of_providers_on_and_has_none() -> None:
    """A variable without a value is taken from the shell or from .env."""
    environment = read(COMPOSE)["services"]["llm_call"]["environment"]
    passed = {name: value for name, value in environment.items() if name.endswith("_KEY")}
    assert passed == dict.fromkeys(sorted(set(DEFAULT_KEY_VARIABLES.values())))


def test_the_override_gives_every_worker_ones_own_code() -> None:
    """A service that it forgets would run without the code, and fail at its start."""
    services = read(OVERRIDE)["services"]
    assert set(services) == {*EFFECT_KINDS, "topology"}
    arguments = services["topology"]["build"]["args"]
    assert set(arguments) == set(re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.M))
    assert set(arguments["EXTRAS"].split(",")) <= set(PROJECT["optional-dependencies"])


def test_the_worker_of_the_recipe_serves_every_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    assert set(load_worker("examples.compose.shop.worker:app").kinds) == set(EFFECT_KINDS)


def test_the_changelog_has_this_version_below_what_is_not_released() -> None:
    """A release moves the lines of "Unreleased" under its number and date."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(PROJECT['version'])} - \d{{4}}-\d\d-\d\d", headings[1])


def test_the_project_has_one_address() -> None:
    """Forms and package point to the same repository."""
    source = PROJECT["urls"]["Source"]
    assert all(url.startswith(source) for url in PROJECT["urls"].values())
    for link in read(".github/ISSUE_TEMPLATE/config.yml")["contact_links"]:
        assert link["url"].startswith(source)
