"""Methods that say what a network looks at in a picture."""
