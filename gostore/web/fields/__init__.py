"""Header fields, and what they say: pure functions between text and values."""
