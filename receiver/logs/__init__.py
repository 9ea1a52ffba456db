"""What the service tells about itself: the log, and its figures."""
