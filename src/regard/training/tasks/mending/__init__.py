"""Recipes that mend a run: its last layer fitted again on slices in equal numbers."""
