"""The version of regard, where everything can import it."""

__version__ = "0.1.0"
