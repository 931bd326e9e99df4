"""The reference application's flows: the main job, and the patterns that a newcomer copies from."""
