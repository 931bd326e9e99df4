"""Where a resource lives: here, in the calling thread; in a thread of its own; in an asyncio task of its own."""
