"""How a network tells places apart."""

INTERPOLATIONS = ("bicubic", "bilinear")
"""How positions were resized to another grid."""
