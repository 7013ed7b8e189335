"""What a layer needs of others: Protocols, and the values that they take and return."""
