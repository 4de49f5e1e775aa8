"""Programs that are read by type checkers, and by nobody else: what they assert is what users see in their editor."""
