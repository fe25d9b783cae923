"""The process that runs: its services and settings, and how it starts and stops.

tap.py enters by service, settings and process; the commands, by parsers. Open service.py first.
"""
