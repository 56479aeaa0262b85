"""Characters, addresses and bytes, as they are read and written."""
