"""The tables. Nothing here that PostgreSQL or SQLite alone could run."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
)

__all__ = [
    "ENDED",
    "HEAD",
    "JOB_STATES",
    "RANK",
    "account",
    "api_key",
    "assignment",
    "audit_entry",
    "channel_rate",
    "contact",
    "contact_change",
    "correction",
    "enrolment",
    "enrolment_unit",
    "event",
    "former_outcome",
    "former_score",
    "former_unit",
    "frozen_fact",
    "frozen_score",
    "heartbeat",
    "held_channel",
    "job",
    "measurement",
    "metadata",
    "opt_in",
    "opt_out",
    "outbox",
    "outcome",
    "paused_wave",
    "receipt",
    "result",
    "score_delivery",
    "second_person",
    "sending_place",
    "session",
    "study_version",
    "unit",
    "unknown_opt_out",
    "wave",
]

# The newest migration. A file that is already there opens without loading Alembic.
HEAD = "0016"
# Every constraint has a name, so that a later migration can change it on both databases.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

study_version = Table(
    "study_version",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("created_at_utc_us", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("spec_toml", Text, nullable=False),
    Column("spec_json", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("waves_seen_json", Text, nullable=False),
)

unit = Table(
    "unit",
    metadata,
    Column("unit_id", Text, primary_key=True),
    Column("cluster", Text),
    Column("time_zone", Text),
    Column("language", Text),
    Column("fields_json", Text, nullable=False),
    Column("imported_at_utc_us", BigInteger, nullable=False),
)
# Units as they were before an import replaced them: waves that were drawn before keep these.
former_unit = Table(
    "former_unit",
    metadata,
    Column("former_id", Integer, primary_key=True),  # grows: the order of replacements
    Column("unit_id", Text, nullable=False),
    Column("cluster", Text),
    Column("time_zone", Text),
    Column("language", Text),
    Column("fields_json", Text, nullable=False),
    Column("imported_at_utc_us", BigInteger, nullable=False),
    Column("replaced_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
)

# Columns of a unit that were measured again, as of a day or for a wave.
measurement = Table(
    "measurement",
    metadata,
    Column("measurement_id", Integer, primary_key=True),  # grows: the later of two for one day
    Column("unit_id", Text, ForeignKey("unit.unit_id"), nullable=False),
    Column("as_of", Text),  # a day such as 2023-11-13
    Column("for_wave", Text),  # the day on which it starts
    Column("fields_json", Text, nullable=False),
    Column("imported_at_utc_us", BigInteger, nullable=False),
    CheckConstraint("(as_of IS NULL) <> (for_wave IS NULL)", name="date"),
    Index(None, "unit_id"),
)

wave = Table(
    "wave",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("opened_at_utc_us", BigInteger, nullable=False),
    Column("closed_at_utc_us", BigInteger),
    Column("version", Integer, ForeignKey("study_version.number")),
    Column("exploratory", Boolean, nullable=False),
    Column("starts_at_utc_us", BigInteger),
    Column("details_json", Text, nullable=False),
    # An open wave that was closed before: its outcomes are made anew, and nothing is sent.
    Column("reopened_at_utc_us", BigInteger),
    Column("outcome_version", Integer),  # null: 1
    CheckConstraint("state IN ('open', 'closed')", name="state"),
)

assignment = Table(
    "assignment",
    metadata,
    Column("wave_id", Text, ForeignKey("wave.wave_id"), primary_key=True),
    Column("unit_id", Text, ForeignKey("unit.unit_id"), primary_key=True),
    Column("stratum", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("propensity", Double),  # null: drawn elsewhere, and not known
    Column("held_out", Boolean),
    # where the arm is a policy: the arm that it gives, and the probability with which it gives it
    Column("content", Text),
    Column("content_propensity", Double),
    # group that was randomized as a whole, where it is no column of units: who shares a phone
    Column("randomized_with", Text),
    sqlite_with_rowid=False,  # the key is the table: half the writing
)

# What the units of a wave looked like when it was opened, beside their rows of the people file:
# columns that were measured again, and those derived from events.
frozen_fact = Table(
    "frozen_fact",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("values_json", Text, nullable=False),
    ForeignKeyConstraint(["wave_id", "unit_id"], ["assignment.wave_id", "assignment.unit_id"]),
    sqlite_with_rowid=False,
)

# A stage before waves: who was invited, and what became of everybody.
enrolment = Table(
    "enrolment",
    metadata,
    Column("enrolment_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("opened_at_utc_us", BigInteger, nullable=False),
    Column("closed_at_utc_us", BigInteger),
    Column("version", Integer, ForeignKey("study_version.number")),
    Column("exploratory", Boolean, nullable=False),
    Column("details_json", Text, nullable=False),
    CheckConstraint("state IN ('open', 'closed')", name="state"),
)
enrolment_unit = Table(
    "enrolment_unit",
    metadata,
    Column("enrolment_id", Text, ForeignKey("enrolment.enrolment_id"), primary_key=True),
    Column("unit_id", Text, ForeignKey("unit.unit_id"), primary_key=True),
    Column("status", Text, nullable=False),
    Column("reason", Text),  # why it was left out
    Column("answered", Boolean),
    Column("consented_at_utc_us", BigInteger),
    Column("consent_proof", Text),  # id of the event
    Column("consent_message", Text),  # what was said to it before
    Column("consent_language", Text),
    CheckConstraint("status IN ('left out', 'invited', 'enrolled')", name="status"),
    sqlite_with_rowid=False,
)

event = Table(
    "event",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("value", Double),
    Column("item", Text),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Column("withdrawn_at_utc_us", BigInteger),  # it no longer counts; its id stays known
    # No other index: waves close by one pass over all events, and each index halves intake.
)
# What an event or a score said before it was corrected or withdrawn, and why it was.
correction = Table(
    "correction",
    metadata,
    Column("correction_id", Integer, primary_key=True),
    Column("observation", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("unit_id", Text, nullable=False),  # as it was named before
    Column("former_json", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    CheckConstraint("observation IN ('event', 'score')", name="observation"),
    CheckConstraint("action IN ('corrected', 'withdrawn')", name="action"),
)

outcome = Table(
    "outcome",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("values_json", Text, nullable=False),
    ForeignKeyConstraint(["wave_id", "unit_id"], ["assignment.wave_id", "assignment.unit_id"]),
    sqlite_with_rowid=False,
)

# Outcomes of a wave before it was reopened.
former_outcome = Table(
    "former_outcome",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("unit_id", Text, primary_key=True),
    Column("values_json", Text, nullable=False),
    sqlite_with_rowid=False,
)

result = Table(
    "result",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("wave_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("created_at_utc_us", BigInteger, nullable=False),
    Column("version", Integer, ForeignKey("study_version.number")),
    Column("payload_json", Text, nullable=False),
    Index(None, "kind", "wave_id"),
)


# Tables apart from research data: encrypted contact details, opt-outs, and keys of the interface.

contact = Table(
    "contact",
    metadata,
    Column("unit_id", Text, ForeignKey("unit.unit_id"), primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("encrypted", Text, nullable=False),
    Column("lookup", Text, nullable=False),
    Column("imported_at_utc_us", BigInteger, nullable=False),
    Index(None, "lookup"),
    sqlite_with_rowid=False,
)
# What a unit changed itself. The former detail stays encrypted: a number is easily mistyped.
contact_change = Table(
    "contact_change",
    metadata,
    Column("change_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("former_key_id", Text),
    Column("former_encrypted", Text),
    Index(None, "unit_id"),
)
# No foreign key: an opt-out outlives whatever happens to its unit's row.
opt_out = Table(
    "opt_out",
    metadata,
    Column("opt_out_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("channel", Text),  # null: all channels
    Column("source", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
)
# An opt-out stays; this says from when on it no longer holds on a channel.
opt_in = Table(
    "opt_in",
    metadata,
    Column("opt_in_id", Text, primary_key=True),
    Column("unit_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
)

# Opt-outs of addresses that nobody in the study has: whoever is imported with one refuses too. The
# address stays encrypted, so that the blind index can follow a rotation of keys.
unknown_opt_out = Table(
    "unknown_opt_out",
    metadata,
    Column("opt_out_id", Text, primary_key=True),
    Column("channel", Text, nullable=False),  # that it came by
    Column("only_channel", Boolean, nullable=False),  # or all of them
    Column("key_id", Text, nullable=False),
    Column("encrypted", Text, nullable=False),
    Column("lookup", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Column("ended_at_utc_us", BigInteger),  # taken back by a START
    Index(None, "lookup"),
)

api_key = Table(
    "api_key",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("created_at_utc_us", BigInteger, nullable=False),
    Column("revoked_at_utc_us", BigInteger),
)


# The outbox: one row per unit, slot and wave; receipts as they came; what is paused.

# How far a message came; a receipt moves it up, never down.
RANK = {
    "queued": 0,
    "leased": 1,
    "sending": 2,
    "cancelled": 3,
    "unknown": 4,
    "sent": 5,
    "failed": 6,
    "delivered": 7,
    "read": 8,
    "answered": 9,
}
STATES = tuple(RANK)
ENDED = ("cancelled", "unknown", "sent", "failed", "delivered", "read", "answered")

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", Integer, primary_key=True),
    Column("wave_id", Text, nullable=False),  # the wave, or the enrolment
    Column("unit_id", Text, nullable=False),
    Column("slot", Integer, nullable=False),  # 0 for the first send of the schedule
    Column("message_key", Text, nullable=False),  # idempotency key: random, names nobody
    Column("arm", Text, nullable=False),  # what the unit gets: of a policy, the arm that it chose
    Column("message_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("content_json", Text, nullable=False),  # language, title, text, fields, flow
    Column("time_zone", Text, nullable=False),
    Column("due_at_utc_us", BigInteger, nullable=False),  # by the schedule
    Column("next_at_utc_us", BigInteger, nullable=False),  # not before
    Column("expires_at_utc_us", BigInteger),  # not from then on
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("attempts", Integer, nullable=False),  # calls of the provider that were begun
    Column("lease_owner", Text),
    Column("lease_until_utc_us", BigInteger),
    Column("provider_id", Text),
    Column("queued_at_utc_us", BigInteger, nullable=False),
    Column("sent_at_utc_us", BigInteger),
    Column("delivered_at_utc_us", BigInteger),
    Column("read_at_utc_us", BigInteger),
    Column("answered_at_utc_us", BigInteger),
    Column("ended_at_utc_us", BigInteger),  # failed, unknown, cancelled
    # The version of the plan that it was queued under, and its message's words there (null: not
    # known, or no version).
    Column("spec_hash", Text),
    Column("wording_hash", Text),
    # When a call of which nobody knows whether it was taken was followed by another one.
    Column("doubt_at_utc_us", BigInteger),
    # When its provider_id was found by a query: the provider's own answer to another message, with
    # the same id, goes before it.
    Column("looked_up_at_utc_us", BigInteger),
    CheckConstraint(f"state IN {STATES}", name="state"),
    Index(None, "wave_id", "unit_id", "slot", unique=True),
    Index(None, "message_key", unique=True),
    Index(None, "channel", "state", "next_at_utc_us"),
    Index(None, "unit_id"),
    Index(None, "provider_id"),
)
# Kept whether or not their message is known yet: a receipt can overtake the provider's answer.
receipt = Table(
    "receipt",
    metadata,
    Column("receipt_id", Text, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("provider_id", Text),
    Column("message_key", Text),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("at_utc_us", BigInteger, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    CheckConstraint("state IN ('sent', 'failed', 'delivered', 'read', 'answered')", name="state"),
    Index(None, "provider_id"),
    Index(None, "message_key"),
)
# Waves whose messages wait; the empty name stands for all of them.
paused_wave = Table(
    "paused_wave",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("paused_at_utc_us", BigInteger, nullable=False),
    Column("reason", Text),  # null: somebody asked for it
)
# What each folder that sends noted last, here and in a file of its own: where the two differ, the
# database is an older copy, and what went out since is not known.
sending_place = Table(
    "sending_place",
    metadata,
    Column("place", Text, primary_key=True),
    Column("mark", Text, nullable=False),
)
# When a channel may send next; all workers of the study take their turns from here.
channel_rate = Table(
    "channel_rate",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("next_at_utc_us", BigInteger, nullable=False),  # by the clock of the turns
    Column("at_utc_us", BigInteger),  # what that clock showed when turns were last reserved
)
# Channels whose provider takes nothing now: only a probe goes out now and then.
held_channel = Table(
    "held_channel",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("needs_person", Boolean, nullable=False),
    Column("held_at_utc_us", BigInteger, nullable=False),
    Column("n_probes", Integer, nullable=False),
    Column("next_probe_at_utc_us", BigInteger, nullable=False),
)
# Written by every look at a server's health: proof that the database takes a write.
heartbeat = Table(
    "heartbeat",
    metadata,
    Column("name", Text, primary_key=True),
    Column("at_utc_us", BigInteger, nullable=False),
)


# The tables of scores: every delivery as it came, and what each closed wave used of them.

score_delivery = Table(
    "score_delivery",
    metadata,
    Column("outcome_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("delivery", Text, primary_key=True),
    Column("delivered_at_utc_us", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    Column("received_at_utc_us", BigInteger, nullable=False),
    Column("withdrawn_at_utc_us", BigInteger),
    Index(None, "unit_id"),
    sqlite_with_rowid=False,
)

frozen_score = Table(
    "frozen_score",
    metadata,
    Column("wave_id", Text, ForeignKey("wave.wave_id"), primary_key=True),
    Column("outcome_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("score", Double, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("delivered_at_utc_us", BigInteger, nullable=False),
    Index(None, "unit_id"),
    sqlite_with_rowid=False,
)

# The scores of a wave before it was reopened.
former_score = Table(
    "former_score",
    metadata,
    Column("wave_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("outcome_id", Text, primary_key=True),
    Column("unit_id", Text, primary_key=True),
    Column("period", Text, primary_key=True),
    Column("score", Double, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("delivered_at_utc_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


# The team: who may come in, what they did, long steps, and steps that wait for a second person.

account = Table(
    "account",
    metadata,
    Column("account_id", Text, primary_key=True),
    Column("name", Text, nullable=False),  # what one signs in with, in lower case
    Column("role", Text, nullable=False),
    Column("password_hash", Text),  # argon2id; null: not joined yet, or by another sign-in
    Column("subject", Text),  # who it is at an identity provider
    Column("invited_at_utc_us", BigInteger, nullable=False),
    Column("invitation_hash", Text),  # null: it was taken up
    Column("invitation_until_utc_us", BigInteger),
    Column("joined_at_utc_us", BigInteger),
    Column("removed_at_utc_us", BigInteger),
    CheckConstraint("role IN ('owner', 'analyst', 'field', 'viewer')", name="role"),
    Index(None, "name", unique=True),
    Index(None, "subject", unique=True),
)
session = Table(
    "session",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("account.account_id"), nullable=False),
    Column("token_hash", Text, nullable=False),  # the token itself is in the browser alone
    Column("began_at_utc_us", BigInteger, nullable=False),
    Column("expires_at_utc_us", BigInteger, nullable=False),
    Column("ended_at_utc_us", BigInteger),
    Index(None, "account_id"),
    Index(None, "token_hash", unique=True),
)
# What was done, by whom. The database refuses to change or delete a row (migration 0016), and each
# holds the hash of the one before it, so that one which is gone all the same shows.
audit_entry = Table(
    "audit_entry",
    metadata,
    Column("entry_id", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, ...
    Column("at_utc_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # an account's id, or "command line"
    Column("verb", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("arguments_json", Text, nullable=False),  # no personal data
    Column("version", Integer),  # of the plan; null: not registered yet
    Column("reason", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    CheckConstraint(
        "outcome IN ('asked', 'begun', 'done', 'failed', 'refused', 'cancelled')", name="outcome"
    ),
)

JOB_STATES = ("queued", "running", "done", "failed", "cancelled")
# Long steps, one at a time: taken by a worker under a lease, and again where it was killed.
job = Table(
    "job",
    metadata,
    Column("job_id", Integer, primary_key=True),
    Column("verb", Text, nullable=False),
    Column("arguments_json", Text, nullable=False),
    Column("open_key", Text),  # verb and arguments until it has ended: a step is queued once
    Column("state", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_at_utc_us", BigInteger, nullable=False),
    Column("begun_at_utc_us", BigInteger),
    Column("ended_at_utc_us", BigInteger),
    Column("attempts", Integer, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until_utc_us", BigInteger),
    Column("cancel_asked", Boolean, nullable=False),
    Column("progress_text", Text, nullable=False),
    Column("n_done", Integer, nullable=False),
    Column("n_steps", Integer, nullable=False),  # 0: not known
    Column("result_text", Text, nullable=False),  # what the verb said, or why it failed
    CheckConstraint(f"state IN {JOB_STATES}", name="state"),
    Index(None, "open_key", unique=True),
    Index(None, "state"),
)
# A step that the study lets nobody do alone.
second_person = Table(
    "second_person",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("step", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("arguments_json", Text, nullable=False),
    Column("spec_hash", Text, nullable=False),  # of the study file that the first one saw
    Column("reason", Text, nullable=False),
    Column("asked_by", Text, nullable=False),
    Column("asked_at_utc_us", BigInteger, nullable=False),
    Column("expires_at_utc_us", BigInteger, nullable=False),
    Column("answered_by", Text),
    Column("answered_at_utc_us", BigInteger),
    Column("answer", Text),
    ForeignKeyConstraint(["asked_by"], ["account.account_id"], name="fk_second_person_asked_by"),
    ForeignKeyConstraint(["answered_by"], ["account.account_id"], name="fk_second_person_answered"),
    CheckConstraint("answer IN ('confirmed', 'declined', 'withdrawn')", name="answer"),
    CheckConstraint("answer <> 'confirmed' OR answered_by <> asked_by", name="two_people"),
)
