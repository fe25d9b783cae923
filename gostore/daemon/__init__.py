"""The process that runs: its services and settings, and how it starts, reloads and stops.

tap.py enters by service, settings, config_file and process; the commands, by config_file and
parsers. Open service.py first.
"""
