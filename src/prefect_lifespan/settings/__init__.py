"""Settings from where users of Prefect keep them: environment, files, Secret blocks, Variables; see `FlowSettings`."""

from prefect_lifespan.settings.errors import SettingsError
from prefect_lifespan.settings.explaining import ExplainedField, Explanation, explain
from prefect_lifespan.settings.flow_settings import FlowSettings
from prefect_lifespan.settings.sources import PrefectSecretsSettingsSource, PrefectVariablesSettingsSource

__all__ = [
    "ExplainedField",
    "Explanation",
    "FlowSettings",
    "PrefectSecretsSettingsSource",
    "PrefectVariablesSettingsSource",
    "SettingsError",
    "explain",
]
