"""The pages: a study in a browser, each step through the same door as in Python."""
