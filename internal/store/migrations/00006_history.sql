-- +goose Up

-- Every time that an alert fired and ended, in the order in which the ends were
-- recorded. What fires now is in the table alert.
CREATE TABLE alert_history (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at          BIGINT NOT NULL,              -- when its end was recorded
  starts_at   BIGINT NOT NULL,
  fingerprint TEXT   NOT NULL,
  incident    BIGINT NOT NULL,              -- 0: none
  body        TEXT   NOT NULL               -- the alert with its mutes, as JSON
);
CREATE INDEX alert_history_at ON alert_history (at);
CREATE INDEX alert_history_incident ON alert_history (incident, id);
