"""The stores; SQLite is the only one so far."""
