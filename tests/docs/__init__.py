"""The documentation: its examples run, and it names everything that is public."""
