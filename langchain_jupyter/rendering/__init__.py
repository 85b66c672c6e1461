"""What a model is shown of a notebook: pure, within limits."""
