"""`lifespan`: the container's resources are open for a flow run, or for a `with` block, and closed in the end."""

from prefect_lifespan.lifespans.guard import install
from prefect_lifespan.lifespans.lifespan import lifespan

__all__ = ["install", "lifespan"]
