"""The composition root: the one place that chooses concrete classes and wires them."""
