-- +goose Up

-- Times are Unix nanoseconds, UTC. JSON columns hold the words' own encoding.
CREATE TABLE incident (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  key         TEXT    NOT NULL,             -- group key
  state       TEXT    NOT NULL,             -- open, acknowledged, resolved, closed
  severity    INTEGER NOT NULL,
  service     TEXT    NOT NULL,
  opened_at   BIGINT  NOT NULL,
  seq         BIGINT  NOT NULL,             -- number of its last event
  head        TEXT    NOT NULL,             -- hash of its last event
  body        TEXT    NOT NULL              -- the incident as JSON
);
-- Identity: at most one incident of a key is not closed.
CREATE UNIQUE INDEX incident_key ON incident (key) WHERE state <> 'closed';
CREATE INDEX incident_state ON incident (state, id);
CREATE INDEX incident_last ON incident (key, id);

CREATE TABLE event (
  incident BIGINT NOT NULL REFERENCES incident (id),
  seq      BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  kind     TEXT   NOT NULL,
  actor    TEXT   NOT NULL,
  via      TEXT   NOT NULL,
  text     TEXT   NOT NULL,
  data     TEXT   NOT NULL,                 -- JSON or empty
  prev     TEXT   NOT NULL,
  hash     TEXT   NOT NULL,
  PRIMARY KEY (incident, seq)
);

CREATE TABLE alert (
  fingerprint TEXT   PRIMARY KEY,
  incident    BIGINT NOT NULL,              -- 0: none
  ends_at     BIGINT NOT NULL,
  ended       INTEGER NOT NULL,             -- 1 once its end was acted on
  due_at      BIGINT NOT NULL,              -- when it is looked at again: its end, or its mute's
  muted       TEXT   NOT NULL,              -- why it opened no incident, or empty
  body        TEXT   NOT NULL               -- the alert as JSON
);
CREATE INDEX alert_incident ON alert (incident);
CREATE INDEX alert_due ON alert (due_at) WHERE ended = 0;
CREATE INDEX alert_muted ON alert (due_at) WHERE ended = 0 AND muted <> '';

-- What happens next if nobody acts. One row per incident and kind.
CREATE TABLE timer (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  kind       TEXT    NOT NULL,
  incident   BIGINT  NOT NULL,
  generation INTEGER NOT NULL,
  step       INTEGER NOT NULL,
  due_at     BIGINT  NOT NULL,
  UNIQUE (incident, kind)
);
CREATE INDEX timer_due ON timer (due_at);

-- The outbox. A row is pending until it is delivered or not needed any more.
CREATE TABLE page (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  key         TEXT    NOT NULL UNIQUE,      -- incident/generation/step/person/method
  incident    BIGINT  NOT NULL,
  generation  INTEGER NOT NULL,
  step        INTEGER NOT NULL,
  person      TEXT    NOT NULL,
  method      TEXT    NOT NULL,
  severity    INTEGER NOT NULL,
  due_at      BIGINT  NOT NULL,             -- of the next attempt
  state       TEXT    NOT NULL,             -- pending, delivered, dropped
  attempt     INTEGER NOT NULL,             -- number of the last attempt
  lease_until BIGINT  NOT NULL,             -- 0: nobody is sending it
  body        TEXT    NOT NULL              -- the page as JSON
);
CREATE INDEX page_pending ON page (method, due_at) WHERE state = 'pending';
CREATE INDEX page_incident ON page (incident, generation);

CREATE TABLE attempt (
  page    BIGINT  NOT NULL REFERENCES page (id),
  attempt INTEGER NOT NULL,
  at      BIGINT  NOT NULL,
  result  TEXT    NOT NULL,
  detail  TEXT    NOT NULL,
  PRIMARY KEY (page, attempt)
);

CREATE TABLE silence (
  id      TEXT   PRIMARY KEY,
  ends_at BIGINT NOT NULL,
  body    TEXT   NOT NULL
);
CREATE INDEX silence_end ON silence (ends_at);

CREATE TABLE token (
  id      TEXT PRIMARY KEY,
  hash    TEXT NOT NULL UNIQUE,             -- SHA-256 of the secret; the secret is nowhere
  body    TEXT NOT NULL
);

-- Written by readiness checks: proof that the store takes writes.
CREATE TABLE heartbeat (
  id INTEGER PRIMARY KEY,
  at BIGINT  NOT NULL
);
