"""gostore: a small network daemon that stores blobs behind HTTP."""

__version__ = "0.1.0"
