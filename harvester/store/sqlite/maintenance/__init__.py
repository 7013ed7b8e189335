"""Checks, repairs and copies of the file, and what its file system does to it."""
