"""Checks, repairs and copies of the database file, and checks of its file system."""
