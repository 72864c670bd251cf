"""Recorded trials and masks turned into statistics (pure), figures (which only draw) and reports."""
