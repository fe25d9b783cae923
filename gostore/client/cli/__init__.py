"""The commands of `gostore` that talk to a daemon, on click and rich.

commands/main.py enters by program.py. session.py has what all commands share; open it first.
remotes.py says which daemon and with which credentials, files.py keeps the user's files whole,
transfers.py works on many blobs at a time, and report.py says what came of it.
"""
