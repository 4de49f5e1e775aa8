"""How a run happens: calls, bodies, attempts, lifetimes, the journal, limits and caching."""
