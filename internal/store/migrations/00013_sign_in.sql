-- +goose Up

-- Who is signed in with a browser.
CREATE TABLE session (
  hash   TEXT PRIMARY KEY,                  -- SHA-256 of the cookie; the cookie is nowhere
  person TEXT NOT NULL,
  body   TEXT NOT NULL                      -- as JSON
) WITHOUT ROWID;
CREATE INDEX session_person ON session (person);

CREATE TABLE password (
  person TEXT PRIMARY KEY,
  body   TEXT NOT NULL                      -- argon2id, as JSON
) WITHOUT ROWID;

-- One for each person who has not used it yet.
CREATE TABLE invitation (
  person TEXT PRIMARY KEY,
  hash   TEXT NOT NULL UNIQUE,              -- SHA-256 of the code
  body   TEXT NOT NULL                      -- as JSON
) WITHOUT ROWID;
