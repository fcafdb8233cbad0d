-- +goose Up

-- Changes to production and their events, hash-chained per change. None is ever
-- deleted: ids have no gaps.
CREATE TABLE change_record (
  id          INTEGER PRIMARY KEY,
  request_key TEXT,                         -- of its request, so that a repetition makes no second one
  state       TEXT   NOT NULL,
  service     TEXT   NOT NULL,
  environment TEXT   NOT NULL,
  incident    BIGINT NOT NULL,              -- 0: none
  updated_at  BIGINT NOT NULL,
  due_at      BIGINT NOT NULL,              -- when time does something to it; 0: never
  seq         BIGINT NOT NULL,
  head        TEXT   NOT NULL,
  body        TEXT   NOT NULL               -- the change as JSON
);
CREATE UNIQUE INDEX change_key ON change_record (request_key) WHERE request_key IS NOT NULL;
CREATE INDEX change_due ON change_record (due_at) WHERE due_at > 0;
CREATE INDEX change_incident ON change_record (incident) WHERE incident > 0;
CREATE INDEX change_updated ON change_record (updated_at);

CREATE TABLE change_event (
  record BIGINT NOT NULL REFERENCES change_record (id),
  seq    BIGINT NOT NULL,
  at     BIGINT NOT NULL,
  body   TEXT   NOT NULL,                   -- the event as JSON
  PRIMARY KEY (record, seq)
);

-- The rules of changes that are in force: one row.
CREATE TABLE change_policy (
  id   INTEGER PRIMARY KEY CHECK (id = 1),
  body TEXT NOT NULL
);
