"""What is planted in drawn scenes so that the truth is known: a shortcut, parts left undrawn, scenes drawn again."""
