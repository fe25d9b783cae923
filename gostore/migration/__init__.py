"""Moving all blobs of one store into another, while no daemon serves either.

The commands enter by migration.mover, migration.ends and migration.directory; bucket/moving.py has
the other kind of source and target. Open mover.py first.
"""
