-- +goose Up

-- What somebody who came on duty accepted, with the pack as they read it.
CREATE TABLE handover (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  at   BIGINT NOT NULL,
  role TEXT   NOT NULL,
  body TEXT   NOT NULL                      -- as JSON
);
CREATE INDEX handover_role ON handover (role, id);
CREATE INDEX handover_at ON handover (at);

-- Feeds of calendars. The secret in a feed's address is stored as its hash only.
CREATE TABLE calendar (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  hash TEXT NOT NULL UNIQUE,
  body TEXT NOT NULL                        -- as JSON
);
