"""Mutation testing: the hand-written faults of tests/mutations, and mutmut for the pure modules."""
