"""Moves the data: from what is due to what is written down of it."""
