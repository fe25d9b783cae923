"""The process that runs: its services and settings, and how it starts, reloads and stops.

tap.py enters by service, settings and process; the commands, by settings and parsers. Open
service.py first.
"""
