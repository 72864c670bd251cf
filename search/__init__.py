"""Many trials: what is searched, who decides, how Ray runs it, and what is made of the record."""
