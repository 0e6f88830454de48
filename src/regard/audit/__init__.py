"""What joins explanation, measurement and training into a verdict."""
