"""Interfaces between the layers: Protocols, and the values that they take and return."""
