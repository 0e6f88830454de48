"""Whether what a map calls important is what the network's answer needs: patches are removed, and it is asked again."""
