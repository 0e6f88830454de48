"""Attention as an output: queries and keys recorded on the way, and what a network does on from a block."""
