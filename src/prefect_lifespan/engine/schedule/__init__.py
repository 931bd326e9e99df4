"""What happens when to the resources of one lifespan: states, order, attempts, limits, and what the caller sees of it.

No thread, no event loop and no clock: events come in, with the time, and commands go out. `standing` is one resource and
what it shares with the others, `opening` and `closing` are one call each, `report` is what comes of a closing.
"""
