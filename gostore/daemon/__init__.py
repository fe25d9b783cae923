"""What runs, and how it starts and stops: the service tree, its settings, the collector and the
scrubber.

Open service.py first. tap.py enters.
"""
