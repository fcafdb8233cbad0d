-- +goose Up

-- A row that a restore holds back is acted on once a person, or an alert that
-- still fires, says so. Pages have the state 'held' instead of a column.
ALTER TABLE timer ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alert ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
DROP INDEX timer_due;
CREATE INDEX timer_due ON timer (due_at) WHERE held = 0;
CREATE INDEX timer_held ON timer (incident) WHERE held = 1;
CREATE INDEX alert_held ON alert (incident) WHERE held = 1;
CREATE INDEX page_held ON page (incident) WHERE state = 'held';

-- What retention deleted: the head of each incident's chain, chained in turn, so
-- that whatever else vanishes is missed.
CREATE TABLE checkpoint (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  at       BIGINT NOT NULL,                 -- when it was deleted
  incident BIGINT NOT NULL UNIQUE,
  seq      BIGINT NOT NULL,                 -- number of its last event
  head     TEXT   NOT NULL,                 -- hash of its last event
  prev     TEXT   NOT NULL,                 -- hash of the row before
  hash     TEXT   NOT NULL
);
