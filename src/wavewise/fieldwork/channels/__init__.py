"""Channels: one file a provider, all behind the small protocol of ``base``."""
