"""The SQLite side: schema, queries, transactions."""
