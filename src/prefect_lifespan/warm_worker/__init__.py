"""The worker type `lifespan`: flow runs in warm processes, which keep what lives as long as a process.

`worker` is what Prefect loads (the entry point `prefect.collections`), `__main__` what a warm process runs. Nothing of
this is imported by whoever imports the library.
"""
