"""The `gostore` command, one file for each subcommand.

Open main.py first.
"""
