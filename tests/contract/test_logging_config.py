"""`logging.config` flushes handlers while it holds logging's lock, as we tell by a private name; and only then."""

import subprocess
import sys

PROGRAM = """
import logging, logging.config, threading
from prefect_lifespan.lifespans.logging_in_runs import holds_loggings_lock

class Telling(logging.StreamHandler):
    def flush(self):
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(holds_loggings_lock()))
        thread.start()
        thread.join()
        print(holds_loggings_lock(), *elsewhere)

kept = Telling()
kept.flush()
logging.config.dictConfig({"version": 1})
"""


def test_dict_config_holds_loggings_lock_while_it_flushes_handlers() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    assert done.stdout.splitlines() == ["False False", "True False"]
