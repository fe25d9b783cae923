"""The exit statuses of the commands for a directory.

They stand alone, so that `gostore` need not import Twisted before it can catch Ctrl-C.
"""

GOOD, BAD, CANNOT = 0, 1, 2
"""All is well; something is damaged or lost; it cannot be done."""

CONFLICT, DAMAGED, SEVERAL = 6, 8, 1
"""A migration ends with these: the target has something else; the source is damaged; both."""
