"""A page for people of what an agent did in a notebook."""
