"""Makes dependency-injector's providers picklable: what refers to a container can travel to another process.

Needs neither workers nor Prefect: whoever pickles a container, a provider or a marker, by pickle, cloudpickle or
multiprocessing, has it once this package is imported.
"""

from prefect_lifespan.provider_pickling.reducers import register

__all__ = ["register"]
