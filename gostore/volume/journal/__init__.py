"""The redo journal: one flush for many small changes.

Only the volume's own files enter; others may ask `format` for names and sizes. Open format.py
first: it has the format, and the rules that make the journal a proof.
"""
