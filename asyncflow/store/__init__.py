"""What is remembered: runs, moves, log lines, limits, the cache and who is alive."""
