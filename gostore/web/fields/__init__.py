"""Header fields and URIs: pure functions between text and values.

Only the web room enters. Open representation.py first for the fields of an answer, and
conditions.py for those of a request.
"""
