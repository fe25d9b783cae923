"""The routes: for each subject one class with a Klein app. The daemon makes them.

Open blobs.py first: what POST, PUT, GET and DELETE do.
"""
