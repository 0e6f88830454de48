"""What an audit found: its verdicts and numbers, those of a copy that knows removal, or of words; side by side."""
