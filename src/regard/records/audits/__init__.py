"""What an audit found: its verdicts and numbers, those of a copy that knows removal, and audits side by side."""
