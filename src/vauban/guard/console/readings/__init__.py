"""What each page shows, read from the database into plain values before a template sees it."""
