"""The command `prefect-lifespan`: check, graph, probe, explain, init.

What a command needs is imported when it runs: `--help` is there at once, and what does not need Prefect does not load it.
"""
