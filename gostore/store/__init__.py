"""What a store is, and the one that keeps its blobs in a volume. No HTTP, no paths.

Open interface.py first. web enters by it; the daemon enters by blobstore.py and workers.py.
"""
