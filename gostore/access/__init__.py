"""Access: principals, what they are granted, how one is told from another, and quotas.

`web` asks its door, `daemon` watches its file, `commands` edits that. It knows no HTTP but what an
Authorization field says. Open grants.py first: the rules.
"""
