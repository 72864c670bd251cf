"""The report: it arranges plates on a page."""
