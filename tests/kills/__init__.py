"""What holds when a process is killed from outside (`kill -9`), in the middle of anything."""
