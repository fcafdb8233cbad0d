-- +goose Up

-- Decisions about alerts that were muted, and so caused no event of an incident.
CREATE TABLE decision (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at          BIGINT NOT NULL,
  fingerprint TEXT   NOT NULL,
  body        TEXT   NOT NULL               -- the decision as JSON
);
CREATE INDEX decision_alert ON decision (fingerprint, id);
CREATE INDEX decision_at ON decision (at);
