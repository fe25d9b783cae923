"""A second provider of the store's interface: its blobs are objects in an S3 bucket.

Any number of daemons share a bucket; none has state of its own. Open protocol.py first: it has the
verbs as plain code over engine.py, and pointer.py has the format of what they agree by. The daemon
enters by provider.
"""
