"""What HTTP means here: routes, header fields, lists, and the one table of errors and status codes.

Open dispatch.py first, then routes/. The daemon enters by these.
"""
