"""
Find the worker that a command line names as ``module:object``.

Each failure has a sentence of its own, because this is what goes wrong first for a person who
starts a worker for the first time.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType

from effectmq.broker.place import Said
from effectmq.consumers.worker import EffectWorker
from effectmq.protocol.errors import ConfigurationError, EffectmqError
from effectmq.protocol.text import describe, printable
from effectmq.settings.resolution import command_line

__all__ = ["load_worker"]

logger = logging.getLogger("effectmq.cli")


def load_worker(target: str, said: Said | None = None) -> EffectWorker:
    """
    Import a module and take the worker out of it.

    Args:
        target: ``module:object``; the module is looked for in the current folder first.
        said: The settings on the command line; they win for the workers that the module makes.

    Raises:
        ConfigurationError: When the module does not exist or cannot be imported, or the object is
            no worker.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute or "/" in module_name or module_name.endswith(".py"):
        raise ConfigurationError(
            f"the worker is given as {target!r}; expected module:object"
            + (f", for instance {_suggestion(module_name)}" if module_name else "")
        )
    if said and module_name in sys.modules:
        raise ConfigurationError(
            f"the module {module_name!r} was imported before its worker was asked for, so the "
            "options cannot reach it; expected a module that only this command imports"
        )
    with command_line(said or {}):
        module = _imported(module_name)
    found: object = module
    for step in attribute.split("."):
        try:
            found = getattr(found, step)
        except AttributeError:
            raise ConfigurationError(
                f"the module {module_name!r} has no {attribute!r}; {_workers_in(module)}"
            ) from None
    if not isinstance(found, EffectWorker):
        raise ConfigurationError(
            f"{target!r} is {_kind_of(found)}, expected a Worker; {_workers_in(module)}"
        )
    return found


def _suggestion(module_name: str) -> str:
    path = module_name.removesuffix(".py").strip("./").replace("/", ".")
    return f"{path or 'worker'}:app"


def _imported(name: str) -> ModuleType:
    folder = os.getcwd()
    # A console script has its own folder first on the path, not the user's.
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as problem:
        missing = problem.name or ""
        if name == missing or name.startswith(f"{missing}."):
            raise ConfigurationError(
                f"there is no module {name!r} in {folder} or on the Python path; run the command "
                "in the folder that the import starts from, or set PYTHONPATH"
            ) from None
        logger.debug("importing %s failed", name, exc_info=True)
        raise ConfigurationError(
            f"the module {name!r} imports {missing!r}, which is not installed{_place(problem)}; "
            "install it, or correct the import"
        ) from None
    except EffectmqError:
        raise
    except (Exception, SystemExit) as problem:
        logger.debug("importing %s failed", name, exc_info=True)
        raise ConfigurationError(
            f"the module {name!r} cannot be imported: {describe(problem)}{_place(problem)}; "
            "--log-level DEBUG shows the whole traceback"
        ) from None


def _place(problem: BaseException) -> str:
    """File and line of the user's program where it happened; empty when it is not known."""
    if isinstance(problem, SyntaxError):
        return ""  # its own text has file and line
    for frame in reversed(traceback.extract_tb(problem.__traceback__)):
        if not frame.filename.startswith("<"):
            return f" ({Path(frame.filename).name}, line {frame.lineno})"
    return ""


def _workers_in(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, EffectWorker)]
    if not names:
        return f"it has no Worker at all. Make one: app = Worker(), and name {module.__name__}:app"
    choices = ", ".join(f"{module.__name__}:{name}" for name in names)
    return f"it has {'this Worker' if len(names) == 1 else 'these Workers'}: {choices}"


def _kind_of(value: object) -> str:
    if inspect.ismodule(value):
        return "a module"
    if inspect.isclass(value):
        return f"the class {printable(value.__name__)}"
    if inspect.isroutine(value):
        return "a function"
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {printable(name)}"
