"""Networks that describe pictures: a face for all of them, and the ones that regard trains itself."""
