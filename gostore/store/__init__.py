"""What a store is, and the one that keeps its blobs in a volume. No HTTP, no paths.

Open interface.py first, then blobstore.py. web enters by interface; the daemon enters by
blobstore and workers, too.
"""
