"""Concurrency limits in the user's own code; import `concurrency` from `asyncflow`, `.sync` or `.asyncio`."""
