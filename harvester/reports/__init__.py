"""Words and JSON of what is reported, from values of the domain."""
