"""Files in: rows, cells, and what is wrong with them."""
