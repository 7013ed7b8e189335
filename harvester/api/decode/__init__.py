"""Decode the bodies of answers: decompress, parse, check, and pack embeddings."""
