"""Files and folders of image sets: chosen by pattern, decoded, and copied from elsewhere."""
