"""The way in for a team: roles, sign-in, second persons, the audit log, long steps."""
