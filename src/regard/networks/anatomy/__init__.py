"""What a module is made of: patches, prefix tokens, blocks, head, positions, the last map of features."""
