"""Brings home the embeddings that TwelveLabs computes."""

__version__ = "0.1.0"
