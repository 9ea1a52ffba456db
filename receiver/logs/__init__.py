"""The log of the service, and its histograms."""
