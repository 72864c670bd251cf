"""The trials of a Tversky search over alpha, beta and gamma."""
