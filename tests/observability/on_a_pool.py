"""A program: a run whose tasks are on a pool; it says which process and which run it was."""

from __future__ import annotations

import json
import os
from typing import Any

from prefect.task_runners import ProcessPoolTaskRunner

from tests.observability import programs

if __name__ == "__main__":
    pool: Any = ProcessPoolTaskRunner(max_workers=1)  # whose futures Prefect's annotations do not let a flow have
    programs.reported.with_options(task_runner=pool)()
    print(json.dumps({"pid": os.getpid(), "run": programs.runs.pop()}))
