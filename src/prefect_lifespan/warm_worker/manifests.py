"""How Prefect runs the hooks of a run whose process has gone: by a file that says where its code is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.utilities.processutils import get_sys_executable, sanitize_subprocess_env

from prefect_lifespan.warm_worker.engine_parts import (
    PreparedWorkspace,
    PreparedWorkspaceManifest,
    hook_command,
    workspace_environment,
    write_private_model,
)


def write_manifest(path: Path, workspace: PreparedWorkspace) -> None:
    """Leave it for the worker; readable by this user alone, as it holds the environment."""
    workspace = workspace.model_copy(update={"environment": dict(os.environ)})
    manifest = PreparedWorkspaceManifest(
        working_directory=workspace.working_directory,
        project_root=workspace.project_root,
        runtime_entrypoint=workspace.runtime_entrypoint,
        hook_command=hook_command([get_sys_executable(), "-m", "prefect.engine"]),
        environment=sanitize_subprocess_env(workspace_environment(workspace)),
    )
    write_private_model(path, manifest)


def has_hooks(flow: Flow[..., Any]) -> bool:
    """Whether a flow has hooks that the worker is to run."""
    return bool(flow.on_cancellation_hooks or flow.on_crashed_hooks)
