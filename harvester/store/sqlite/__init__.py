"""The SQLite store: one file, one writing connection."""
