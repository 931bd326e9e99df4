"""Lifespan and dependency injection for Prefect flows."""

__version__ = "0.1.0"
