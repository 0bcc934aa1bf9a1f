"""The server: programs and providers talk to a study over HTTP."""
