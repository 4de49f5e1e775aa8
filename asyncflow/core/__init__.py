"""Values that every floor shares: runs, identity, parameters, clocks, ids. No I/O, no event loop."""
