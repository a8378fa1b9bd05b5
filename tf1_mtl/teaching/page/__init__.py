"""The page: the article walked through, with figures, real runs and evidence."""
