"""What bench/coverage.py draws: for each measure, data of which the truth is known, scored by the product itself."""
