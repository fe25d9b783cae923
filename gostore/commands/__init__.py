"""The `gostore` command, one file for each subcommand.

No other room imports this one. setup.py names main.py as the program. Open main.py first.
"""
