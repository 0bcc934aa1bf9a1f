"""Begin, check, design, register, enrol."""
