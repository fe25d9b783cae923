"""One data directory: all that is on the disk, and the order of the calls. No other room touches
files.

Others enter by volume.py, changes.py, directory.py (names and what they raise), collect.py and
recovery/. Open volume.py first, and commit.py for the write protocol.
"""
