"""Bodies of answers to embeddings: decompressing, parsing, checking, packing."""
