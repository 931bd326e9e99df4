"""The commands as they are called: their arguments, their help, and how they end."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, cast

from cyclopts import App, CycloptsError, Parameter

from prefect_lifespan import __version__
from prefect_lifespan.command.failing import FOUND, INTERRUPTED, WELL, WRONG, CommandError

# What commands need is imported in them: `--help` does not load dependency-injector, which brings FastAPI along.
# ruff: noqa: PLC0415

Target = Annotated[str, Parameter(help="module:Container, path/to/file.py:Container; or a module, a file or a folder.")]
Targets = Annotated[
    list[str],
    Parameter(
        help="module:Container, path/to/file.py:Container; or modules, files and folders: all containers, flows and tasks in "
        "them."
    ),
]
Form = Annotated[Literal["text", "json"], Parameter(name=["--format", "-f"], help="For people, or for programs.")]
Debug = Annotated[bool, Parameter(negative=(), help="Show the traceback of an error.")]

app: App = App(
    name="prefect-lifespan",
    help="Looks at what containers declare and flows ask for, before a run does.",
    help_epilogue="Exit codes: 0 well, 1 findings or failures, 2 the target or the call is wrong.",
    version=__version__,
    help_format="plaintext",
)
cast("Any", app).register_install_completion_command(
    help="Install the completion of commands and options for this shell."
)


def _examples(*lines: str) -> str:
    return "Examples:\n\n" + "\n\n".join(f"  prefect-lifespan {line}" for line in lines)


@app.command(
    help_epilogue=_examples(
        "check containers flows",
        "check app.containers:AppContainer --strict",
        "check . --format github",
    )
)
def check(
    targets: Targets,
    /,
    *,
    strict: Annotated[bool, Parameter(negative=(), help="Let warnings count as well.")] = False,
    form: Annotated[
        Literal["text", "json", "github"],
        Parameter(name=["--format", "-f"], help="For people, for programs, or as annotations of GitHub's actions."),
    ] = "text",
    debug: Debug = False,
) -> int:
    """Find what is wrong with containers, flows and tasks, without opening anything."""
    from prefect_lifespan.command.checking import checked
    from prefect_lifespan.command.reporting import report as report_findings

    found = checked(targets)
    report_findings(found, form)
    return FOUND if found.fails(strict=strict) else WELL


@app.command(
    help_epilogue=_examples(
        "graph app.containers:AppContainer",
        "graph app.containers:AppContainer flows -o app.html",
        "graph app/containers.py:AppContainer -f mermaid",
    )
)
def graph(
    targets: Annotated[
        list[str],
        Parameter(help="The container, and where to look for the flows and tasks that ask for something of it."),
    ],
    /,
    *,
    form: Annotated[
        Literal["tree", "mermaid", "dot", "svg", "html", "json"] | None,
        Parameter(name=["--format", "-f"], help="As the file's name ends, or a tree. svg and html are one file."),
    ] = None,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help="The file to write.")] = None,
    debug: Debug = False,
) -> int:
    """Draw a container: what it declares, how long that lives, what needs what, and who asks for it."""
    from prefect_lifespan.command.graphing import draw

    draw(targets, form, output)
    return WELL


@app.command(
    help_epilogue=_examples(
        "probe app.containers:AppContainer",
        "probe app.containers:AppContainer --only warehouse --timeout 10",
        "probe app.containers:AppContainer --skip model --format json",
    )
)
def probe(
    target: Target,
    /,
    *,
    only: Annotated[
        list[str] | None, Parameter(negative=(), help="A provider's path: open what that needs. May be repeated.")
    ] = None,
    skip: Annotated[
        list[str] | None, Parameter(negative=(), help="A resource's path: do not open it. May be repeated.")
    ] = None,
    timeout: Annotated[
        float | None, Parameter(help="Seconds that each may take to open, to be checked, to close.")
    ] = None,
    retries: Annotated[bool, Parameter(negative=(), help="Open again after a failure, as policies say.")] = False,
    form: Form = "text",
    debug: Debug = False,
) -> int:
    """Open each resource, check its health, and close it, going on after a failure. No flow or task runs."""
    from prefect_lifespan.command.probed import run

    return run(target, only=only, skip=skip or (), timeout_seconds=timeout, retries=retries, form=form)


@app.command(
    help_epilogue=_examples("explain app.containers:AppContainer", "explain app/settings.py:Settings --format json")
)
def explain(target: Target, /, *, form: Form = "text", debug: Debug = False) -> int:
    """Say where each setting's value comes from, with secrets masked."""
    from prefect_lifespan.command.explaining import run

    return run(target, form)


@app.command(help_epilogue=_examples("init my-flows", "init"))
def init(
    folder: Annotated[Path, Parameter(help="Where to write it; no file is overwritten.")] = Path(),
    /,
    *,
    debug: Debug = False,
) -> int:
    """Write a small project that works: a container, a flow, its tests, settings, a Makefile."""
    from prefect_lifespan.command.starting import start

    start(folder)
    return WELL


@app.command(help_epilogue=_examples("report 0195a3f2-7c1b-7d7e-9a53-3f0e5d1c8a44 -o run.html"))
def report(
    flow_run_id: Annotated[str, Parameter(help="The id of a flow run that has left a report.")],
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"], help="The file to write.")] = None,
    debug: Debug = False,
) -> int:
    """Write what a run's resources did, and when, as one HTML file."""
    from prefect_lifespan.command.run_report import write_report

    write_report(flow_run_id, output)
    return WELL


def main() -> NoReturn:
    """The command, as it is installed."""
    sys.exit(run(sys.argv[1:]))


def run(tokens: Sequence[str]) -> int:
    """Run the command with these arguments; the exit code."""
    try:
        code = app(list(tokens), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
        return code if isinstance(code, int) else WELL
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        sys.stdout = None
        return WELL
    except Exception as error:
        if "--debug" in tokens:
            raise
        return _told(error, tokens)


def _told(error: Exception, tokens: Sequence[str]) -> int:
    from prefect_lifespan.command.output import tell
    from prefect_lifespan.masking import summary_of

    if isinstance(error, CommandError):
        tell(error.message, error.cure)
        return error.code
    if isinstance(error, CycloptsError):
        command = next((token for token in tokens if not token.startswith("-")), "")
        tell(str(error), " ".join(["prefect-lifespan", *([command] if command in app else []), "--help"]))
        return WRONG
    tell(summary_of(error), "--debug shows the traceback")
    return WRONG
