"""The page that a browser gets in place of the plain list: what is around its rows, and its files.

Only the routes of this room enter. Open document.py first, then static/page.js: what the page does.
"""
