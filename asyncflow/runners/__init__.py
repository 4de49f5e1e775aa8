"""Where the body of a task is executed."""
