"""Files of images and labels, in and out: one file a library, and a registry that finds it by the file's name."""
