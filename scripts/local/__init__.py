"""The local stack: what ./scripts/stack, demo, test and bench share."""
