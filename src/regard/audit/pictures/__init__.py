"""What an audit measures of each picture, chunk by chunk, and of which methods, controls and maps from outside."""
