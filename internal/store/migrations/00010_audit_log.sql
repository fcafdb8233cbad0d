-- +goose Up

-- What people and the daemon did that no incident tells of: one hash chain.
CREATE TABLE audit_log (
  seq        INTEGER PRIMARY KEY,           -- from 1, without gaps
  at         BIGINT  NOT NULL,
  kind       TEXT    NOT NULL,
  actor      TEXT    NOT NULL,
  via        TEXT    NOT NULL,
  object     TEXT    NOT NULL,
  text       TEXT    NOT NULL,
  detail     TEXT    NOT NULL,              -- empty once it was erased
  detail_sum TEXT    NOT NULL,
  salt       TEXT    NOT NULL,
  erased     INTEGER NOT NULL,
  prev       TEXT    NOT NULL,
  hash       TEXT    NOT NULL
);
CREATE INDEX audit_log_actor ON audit_log (actor, seq);

-- The number of the last event that a seal in the audit log covers.
ALTER TABLE incident ADD COLUMN sealed BIGINT NOT NULL DEFAULT 0;
CREATE INDEX incident_unsealed ON incident (id) WHERE seq <> sealed;
