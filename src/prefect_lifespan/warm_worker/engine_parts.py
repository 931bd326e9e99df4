"""What a warm process needs of Prefect that is not public, in one place; the worker's part stands in `starting`.

`tests/contract/test_prefect_runner_parts.py` pins what is relied upon: `prepare_workspace` pulls a deployment's code as for a
process of its own, in the process that calls it; `control_listener` is configured anew for each run, by the environment,
and says whether the worker has asked for its end; by `engine_outcome_is_handled` a run's end is known to the worker;
`share_tls_contexts` spares Prefect's clients the reading of certificates, `forget_ended_threads` the process what has ended;
the rest is what the worker needs to run hooks
of a run whose process has gone.
"""

import atexit
import functools
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, cast

from prefect import Flow
from prefect._internal import metrics
from prefect._internal.concurrency import threads
from prefect._internal.control_listener import clear_intent, configure_from_env, engine_outcome_is_handled, get_intent
from prefect._internal.control_listener import stop as stop_control_listener
from prefect.client import orchestration
from prefect.client.schemas.objects import FlowRun
from prefect.runner import _workspace_supervisor
from prefect.runner._workspace_resolver import PreparedWorkspace, prepare_workspace
from prefect.runner._workspace_runtime import PreparedWorkspaceManifest, write_private_model
from prefect.runner._workspace_starter import workspace_environment

__all__ = [
    "PreparedWorkspace",
    "PreparedWorkspaceManifest",
    "clear_intent",
    "configure_from_env",
    "engine_outcome_is_handled",
    "forget_ended_threads",
    "get_intent",
    "hook_command",
    "prepare_workspace",
    "run_metrics",
    "share_tls_contexts",
    "stop_control_listener",
    "workspace_environment",
    "write_private_model",
]

_supervisor, _metrics, _threads = (cast("Any", each) for each in (_workspace_supervisor, metrics, threads))  # private
hook_command: Callable[[list[str]], list[str] | None] = _supervisor._hook_command  # noqa: SLF001
run_metrics: Callable[[FlowRun, Flow[..., Any]], AbstractContextManager[None]] = _metrics.RunMetrics


def share_tls_contexts() -> None:
    """Let all of Prefect's clients in this process share what they have read of certificates.

    Each client reads them anew, for an address without TLS as well: 30 ms of processor time, five times a run.
    """
    shared = SimpleNamespace(
        create_default_context=functools.cache(ssl.create_default_context), SSLContext=ssl.SSLContext
    )
    cast("Any", orchestration).ssl = shared


def forget_ended_threads() -> None:
    """Let go of Prefect's threads that have ended: each is to be told to end when the process does, and stays until then.

    Each step of a deployment's pulling has one, and so has what calls asynchronous code from synchronous code.
    """
    for portal in list(_threads._active_instances):  # noqa: SLF001
        if portal.thread.ident is not None and not portal.thread.is_alive():
            atexit.unregister(portal.shutdown)
