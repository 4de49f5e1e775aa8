"""The shell door: one file per noun, each loaded when its command runs."""
