"""Methods that say what each word of a caption looks at."""
