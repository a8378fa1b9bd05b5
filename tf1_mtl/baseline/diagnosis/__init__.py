"""Names the mistake in a port that deviates: which edit of the recorded graph gives its values."""
