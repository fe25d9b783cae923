"""The routes: one class with a Klein app per subject. The daemon makes them.

Open blobs.py first: what POST, PUT, GET and DELETE do.
"""
