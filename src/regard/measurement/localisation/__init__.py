"""Whether a map lies on the thing."""
