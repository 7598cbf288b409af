"""What a prediction run leaves beside its label files: numbers of each case, a page to look at, the heart's figures."""
