"""What one Session.run needs, reads, writes and runs: in words, pictures and TensorBoard."""
