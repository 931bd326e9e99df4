"""`lifespan`: the container's resources are open for a flow run, or for a `with` block, and closed in the end."""

from prefect_lifespan.engine.logging_setups import logging_setups
from prefect_lifespan.lifespans.guard import install
from prefect_lifespan.lifespans.lifespan import lifespan
from prefect_lifespan.lifespans.logging_in_runs import before_logging_is_set_up

logging_setups.before = before_logging_is_set_up

__all__ = ["install", "lifespan"]
