"""The command line, against databases that flows have really filled."""
