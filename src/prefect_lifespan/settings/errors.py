"""The one error of settings that cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import pydantic_settings

from prefect_lifespan.errors import LifespanError


class SettingsError(LifespanError, pydantic_settings.SettingsError):
    """Settings cannot be made: `problems` tells each that is missing, wrong or unknown, and where it was looked for.

    `settings` is the name of the class. No problem holds the value of a secret. Also a `pydantic_settings.SettingsError`,
    which is a `ValueError`.
    """

    def __init__(self, settings: str, problems: Sequence[str]) -> None:
        super().__init__(settings, tuple(problems))
        self.settings = settings
        self.problems: tuple[str, ...] = tuple(problems)

    def _text(self) -> str:
        count = len(self.problems)
        head = f"{self.settings} cannot be made: {count} problem{'s' if count != 1 else ''}."
        return "\n".join([head, *(f"  {problem}" for problem in self.problems)])
