"""Beyond one process: what of a lifespan travels to worker processes, where it opens there, and when it closes."""

from prefect_lifespan import provider_pickling
from prefect_lifespan.workers import scope_carrier

__all__ = ["install"]


def install() -> None:
    """Let containers be pickled, and scopes travel with Prefect's context; doing it twice does nothing."""
    provider_pickling.register()
    scope_carrier.install()
