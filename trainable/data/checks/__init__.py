"""What `aerosweep data check` looks for in an image set."""
