"""Tests of limits in the user's own code."""
