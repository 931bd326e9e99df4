"""The code that a warm process serves: pulled as for a process of its own, loaded once, and never run when it is stale."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import MissingFlowError
from prefect.flows import load_flow_from_entrypoint, load_function_and_convert_to_flow

from prefect_lifespan.warm_worker.engine_parts import PreparedWorkspace, prepare_workspace
from prefect_lifespan.warm_worker.modules import Modules

_NO_CODE = {".git", "__pycache__"}


class StaleCode(Exception):
    """What a run asks for is not what this process has loaded; the message says what differs."""


class Code:
    """One deployment's code.

    Each run pulls it, as a process of its own does: into a folder of the run, or where the deployment or the job says so
    into one that stays. The first run's is loaded; a later run goes on with that as long as nothing has changed.
    """

    def __init__(self, folder: Path, working_dir: Path | None) -> None:
        self._folder = folder
        self._working_dir = working_dir
        self._modules = Modules()
        self._loaded: PreparedWorkspace | None = None
        self._digest: str | None = None
        self._search_path: list[str] = []
        self.flow: Flow[..., Any] | None = None

    async def pull(self, flow_run: FlowRun) -> PreparedWorkspace:
        """The code as it is for this run; the working directory is the run's from here on.

        Raises:
            StaleCode: it is not what has been loaded.
        """
        if self._loaded is not None:
            sys.path[:] = self._search_path
        root = self._working_dir or self.folder_of(flow_run.id) / "code"
        root.mkdir(parents=True, exist_ok=True)
        os.chdir(root)
        if flow_run.deployment_id is None:
            raise ValueError(f"flow run {flow_run.id} has no deployment that says where its code is")
        async with get_client() as client:
            deployment = await client.read_deployment(flow_run.deployment_id)
            workspace = await prepare_workspace(client, flow_run, deployment, root)
        digest = None if self._stays(workspace) else digest_of(workspace.working_directory)
        if self._loaded is None:
            self._loaded, self._digest = workspace, digest
        elif why := self._difference(workspace, digest):
            raise StaleCode(why)
        return workspace

    def load(self, workspace: PreparedWorkspace) -> Flow[..., Any]:
        """The flow, loaded by the first run."""
        if self.flow is None:
            self._modules.begin()
            sys.path[:0] = [str(workspace.working_directory)]
            self.flow = _loaded(workspace.runtime_entrypoint)
            self._modules.note()
            self._search_path = [*sys.path]
        else:
            self._modules.begin()
        return self.flow

    def ended(self, flow_run_id: UUID, *, is_asked_for: bool = False) -> None:
        """A run has ended: what it has imported is noted, and what it has pulled goes, unless hooks of the worker ask for it."""
        self._modules.note()
        os.chdir(self._working_dir or self._folder)
        folder = self.folder_of(flow_run_id)
        is_loaded = self._loaded is not None and self._loaded.workspace_root.is_relative_to(folder)
        if not is_asked_for and not is_loaded:
            shutil.rmtree(folder, ignore_errors=True)

    def folder_of(self, flow_run_id: UUID) -> Path:
        """What belongs to one run."""
        return self._folder / "runs" / str(flow_run_id)

    def _stays(self, workspace: PreparedWorkspace) -> bool:
        """Whether the code stands where it is for the next run as well: then what is loaded is compared with the files."""
        return self._working_dir is not None or not workspace.working_directory.is_relative_to(workspace.workspace_root)

    def _difference(self, workspace: PreparedWorkspace, digest: str | None) -> str | None:
        loaded = self._loaded
        assert loaded is not None, "the first run has loaded it"
        if workspace.runtime_entrypoint != loaded.runtime_entrypoint:
            return "the deployment has another entrypoint"
        if digest != self._digest:
            return "the code that was pulled is another"
        if digest is None and workspace.working_directory != loaded.working_directory:
            return "the code stands elsewhere"
        changed = self._modules.changed()
        return None if changed is None else f"{changed} has changed"


def digest_of(folder: Path) -> str:
    """What all files of a folder hold, and how they are called."""
    digest = hashlib.sha256()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _NO_CODE)
        for name in sorted(files):
            path = Path(parent, name)
            digest.update(str(path.relative_to(folder)).encode() + b"\0")
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _loaded(entrypoint: str) -> Flow[..., Any]:
    try:
        return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    except MissingFlowError:  # as Prefect does it: a function that is no flow becomes one
        return load_function_and_convert_to_flow(entrypoint)
