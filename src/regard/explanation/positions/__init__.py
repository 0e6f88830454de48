"""How a network tells places apart."""
