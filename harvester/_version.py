"""The version of the program: the one place that holds it, read by modules and by the build."""

__version__ = "0.1.0"
