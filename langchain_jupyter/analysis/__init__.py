"""What a notebook's code says: pure, but for the linter."""
