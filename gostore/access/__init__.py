"""Access: principals, and what they are granted.

`web` asks it, and it knows no HTTP. Open grants.py first: the rules.
"""
