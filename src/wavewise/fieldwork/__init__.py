"""From files and events to people and outcomes: frames in, frames or faults out."""
