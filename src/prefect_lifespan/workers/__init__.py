"""Beyond one process: what of a lifespan travels to worker processes, where it opens there, and when it closes."""

from prefect_lifespan.workers.carrying import install
from prefect_lifespan.workers.reducers import register

__all__ = ["install", "register"]
