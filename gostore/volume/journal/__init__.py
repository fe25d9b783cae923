"""The redo journal: one flush for many small changes."""
