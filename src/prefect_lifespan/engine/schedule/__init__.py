"""What happens when, without doing any of it: states, attempts, the order of opening and closing, what the caller sees.

Nothing here knows a thread, an event loop or a clock: whoever carries it out says what has happened, and what time it is.
"""
