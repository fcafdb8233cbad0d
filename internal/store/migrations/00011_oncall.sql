-- +goose Up

-- Changes of the duty, and who ended one: a log that is only appended to. Each row's
-- hash covers its body and the hash of the row before it.
CREATE TABLE duty_change (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  until_at BIGINT  NOT NULL,              -- when the change is over
  ends     INTEGER NOT NULL DEFAULT 0,    -- the change that this row ends
  body     TEXT    NOT NULL,              -- the change as JSON
  prev     TEXT    NOT NULL,
  hash     TEXT    NOT NULL
);
CREATE INDEX duty_change_until ON duty_change (until_at);
CREATE INDEX duty_change_ends ON duty_change (ends) WHERE ends > 0;
