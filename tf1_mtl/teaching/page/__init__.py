"""Writes the lesson page: the article with figures, real runs and evidence."""
