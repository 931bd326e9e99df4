"""Single options of a configuration, overridden: the rest of it stays what the container instance has loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from dependency_injector import providers

from prefect_lifespan.errors import UsageError
from prefect_lifespan.graph.edges import AnyProvider


class OptionValues(providers.Object[Any]):
    """Stands in for some options of a configuration, by their dotted names; called, it gives just these."""

    def over(self, below: AnyProvider | None) -> AnyProvider:
        """These options on top of what else overrides the same configuration.

        Raises:
            UsageError: what is below makes the configuration when it is asked, so it has no options yet.
        """
        if below is None:
            return self
        if not isinstance(below, providers.Object):
            raise UsageError(
                f"a configuration is overridden by a {type(below).__name__}, so its options cannot be overridden one "
                "by one; override it with a dict"
            )
        values: Any = below()
        if isinstance(below, OptionValues):
            return OptionValues({**values, **self()})
        return providers.Object(self.put_into(values))

    def put_into(self, configuration: object) -> dict[str, Any]:
        """A configuration's values with these among them; neither they nor the others are copied."""
        result = _options(configuration)
        for name, value in cast("dict[str, object]", self()).items():
            *sections, option = name.split(".")
            section = result
            for each in sections:
                section[each] = section = _options(section.get(each))
            section[option] = value
        return result


def _options(section: object) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", section)) if isinstance(section, Mapping) else {}
