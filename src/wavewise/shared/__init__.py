"""Small tools that every folder may use."""
