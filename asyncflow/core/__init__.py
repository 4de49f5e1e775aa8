"""Values that every floor shares, without I/O or event loop: runs, identity, parameters, clocks, ids."""
