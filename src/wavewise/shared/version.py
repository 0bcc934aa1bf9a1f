"""The package's version, read by the build and printed by ``wavewise --version``."""

__version__ = "0.1.0"
