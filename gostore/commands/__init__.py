"""The `gostore` command, one file for each subcommand.

Nobody enters: setup.py names main.py as the program. Open main.py first.
"""
