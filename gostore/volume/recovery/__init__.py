"""What a start makes of the data directory: scan first, then repair.

Entered by the store and the commands, through `scan`, `repair` and `findings`. Open scan.py first:
it fills the Findings; rivals.py decides which blob has a location; repair.py carries it out.
"""
