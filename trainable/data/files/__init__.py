"""Files and folders of image sets: pictures and masks decoded, folders elsewhere copied, space asked for."""
