"""Files: images, masks, lists, and writing them whole."""
