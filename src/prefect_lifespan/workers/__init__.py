"""Beyond one process: what travels to the processes that tasks run in, and how it arrives there."""
