"""When a series recurs, and what people write for it. Pure."""
