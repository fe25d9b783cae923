"""One data directory: all that is on the disk, and the order of the calls. No other room touches
files.

Open volume.py first.
"""
