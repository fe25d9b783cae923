"""What a start makes of a directory."""
