"""Modules by name, file and folder, imported as a program that is started here would import them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from traceback import extract_tb
from types import ModuleType

from prefect_lifespan.command.failing import CommandError
from prefect_lifespan.masking import summary_of

_NOT_SEARCHED = {"__pycache__", "node_modules", "site-packages", "build", "dist", "tests", "test"}
_NOT_IMPORTED = {"setup.py", "conftest.py", "__main__.py"}


def search_here_first() -> None:
    """Let modules be found in the working directory, as `python -m` does."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def module_named(name: str) -> ModuleType:
    """The module of a dotted name.

    Raises:
        CommandError: there is none, or it cannot be imported.
    """
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        found = None
        if error.name not in (None, name, name.rpartition(".")[0]):
            raise _failed(name, error) from error
    except Exception as error:
        raise _failed(name, error) from error
    if found is None:
        raise CommandError(
            f"there is no module {name!r}, and no such file or folder",
            _colon_for(name) or "run the command in the project's root, or give the path: path/to/file.py",
        )
    return _imported(name)


def _colon_for(name: str) -> str:
    """What to write for the name of what a module declares, with a dot before it instead of a colon."""
    module, _, declared = name.rpartition(".")
    return f"write {module}:{declared}" if hasattr(sys.modules.get(module), declared) else ""


def modules_in(folder: Path) -> Iterator[ModuleType]:
    """The modules of a folder and those below it: no tests, no hidden folders, no environments, no `__main__`."""
    for file in sorted(_files_in(folder)):
        yield module_in(file)


def module_in(file: Path) -> ModuleType:
    """The module that a file holds, by the name that other modules import it by.

    Raises:
        CommandError: it cannot be imported.
    """
    file = file.resolve()
    root, name = _place_of(file)
    if name is None:
        return _executed(file)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    module = _imported(name, file)
    found = Path(module.__file__ or "").resolve()
    if found != file:
        raise CommandError(
            f"{shown(file)} would be imported as {name}, and that is {shown(found)}",
            "run the command where the file's own package is found first, or rename one of them",
        )
    return module


def shown(file: str | Path) -> str:
    """A file as it is told: from the working directory, where it is below that."""
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except (OSError, ValueError):
        return str(file)


def _files_in(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        name = entry.name
        if name.startswith(".") or entry.is_symlink():
            continue
        if entry.is_dir():
            if name not in _NOT_SEARCHED and not (entry / "pyvenv.cfg").exists():
                yield from _files_in(entry)
        elif entry.suffix == ".py" and name not in _NOT_IMPORTED and not _is_test(entry.stem):
            yield entry


def _is_test(stem: str) -> bool:
    return stem.startswith("test_") or stem.endswith("_test")


def _place_of(file: Path) -> tuple[Path, str | None]:
    """The folder that a file is imported from, and its name there; no name for what cannot have one.

    Of the folders that modules are found in already the nearest one, but none inside of its package; `src` is one too.
    """
    package = file.parent
    while (package / "__init__.py").exists():
        package = package.parent
    known = {Path(entry or ".").resolve() for entry in sys.path}
    roots = [root for root in (package, *package.parents) if root in known or root.name == "src"]
    root = roots[0] if roots else package
    parts = [*file.relative_to(root).with_suffix("").parts]
    if parts[-1] == "__init__":
        parts.pop()
    named = bool(parts) and all(part.isidentifier() for part in parts)
    return root, ".".join(parts) if named else None


def _imported(name: str, file: Path | None = None) -> ModuleType:
    try:
        # What a module prints when it is imported is none of this command's output.
        with redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failed(name if file is None else shown(file), error) from error


def _executed(file: Path) -> ModuleType:
    """A file whose name is no module's, run as one."""
    name = f"_{''.join(c if c.isalnum() else '_' for c in file.stem)}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CommandError(f"{shown(file)} is no Python file", "give a module, a file that ends with .py, or a folder")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _failed(shown(file), error) from error
    return module


def _failed(what: str, error: BaseException) -> CommandError:
    place = _place_in_error(error)
    where = f"{place}: " if place else ""
    if isinstance(error, SystemExit):
        return CommandError(
            f"{where}importing {what} ends the program (exit code {error.code})",
            'run what the module does below `if __name__ == "__main__":`',
        )
    if isinstance(error, ModuleNotFoundError):
        cure = "install it, or run the command in the project's root and its environment"
    elif isinstance(error, SyntaxError):
        cure = "mend the file"
    else:
        cure = "mend what the module does when it is imported; --debug shows the traceback"
    return CommandError(f"{where}{what} cannot be imported: {summary_of(error)}", cure)


def _place_in_error(error: BaseException) -> str:
    """File and line where an import failed: in the user's own code, as far as the traceback leads there."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown(error.filename)}:{error.lineno or 1}"
    frames = [f for f in extract_tb(error.__traceback__) if f.filename != __file__ and "importlib" not in f.filename]
    own = [frame for frame in frames if _is_own(frame.filename)]
    last = (own or frames)[-1:]
    return "".join(f"{shown(frame.filename)}:{frame.lineno}" for frame in last)


def _is_own(filename: str) -> bool:
    installed = f"{os.sep}site-packages{os.sep}" in filename or filename.startswith(sys.base_prefix)
    return not installed and not filename.startswith("<")
