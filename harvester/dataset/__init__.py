"""What programs do with stored results: export them."""
