"""Where a resource lives: here, in the calling thread; in a thread of its own; in an asyncio task of its own.

A place enters one resource once, and exits it there. Whoever has entered it asks the schedule at once whether it stays.
"""
