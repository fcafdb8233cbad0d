-- +goose Up

-- Which alert the key of a source speaks of. The row outlives the alert's end: it is
-- taken over by the next alert with the key, or deleted when the alert is.
CREATE TABLE intake_key (
  source      TEXT NOT NULL,
  key         TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  PRIMARY KEY (source, key)
) WITHOUT ROWID;
CREATE INDEX intake_key_fingerprint ON intake_key (fingerprint);
