"""The tests: what asyncflow promises, in the same rooms as the code."""
