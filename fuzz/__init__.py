"""Fuzz targets: each module has a `check` that takes any bytes and asserts what must always hold.

``python -m fuzz wire`` feeds one with what atheris makes up (`make fuzz`);
tests/test_fuzz_corpus.py feeds all of them with their corpora, for which atheris is not needed.
"""
