"""Which source to choose."""
