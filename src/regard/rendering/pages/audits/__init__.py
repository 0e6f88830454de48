"""The page of an audit, and of several side by side."""
