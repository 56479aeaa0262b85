"""The benchmark: one file a subject, each a function that yields figures."""
