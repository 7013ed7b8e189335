"""Stored results, as programs read them."""
