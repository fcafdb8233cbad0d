-- +goose Up

-- What was last heard of each heartbeat. The evidence, what its last ping carried,
-- stands apart: it is not read each time that all of them are looked at.
CREATE TABLE expected_heartbeat (
  name     TEXT PRIMARY KEY,
  body     TEXT NOT NULL,
  evidence BLOB NOT NULL DEFAULT x''
);
