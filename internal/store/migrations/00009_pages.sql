-- +goose Up

-- What is known about a page after a receiver accepted it: that the provider
-- delivered it or gave up, that its link was opened, that its code was used. That it
-- was attempted and accepted is in the table attempt.
CREATE TABLE receipt (
  page   BIGINT NOT NULL REFERENCES page (id),
  kind   TEXT   NOT NULL,
  at     BIGINT NOT NULL,                   -- the first time
  detail TEXT   NOT NULL,
  PRIMARY KEY (page, kind)
) WITHOUT ROWID;

-- Messages of chats that are edited when the incident's state changes.
CREATE TABLE message (
  page BIGINT NOT NULL REFERENCES page (id),
  body TEXT   NOT NULL,                     -- how the chat names it, as JSON
  PRIMARY KEY (page, body)
) WITHOUT ROWID;

-- Who was paged for an incident that is live, when a text message answers.
CREATE INDEX page_person ON page (person, method, id);

-- Ways to reach people that they added themselves.
CREATE TABLE contact (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  person TEXT NOT NULL,
  body   TEXT NOT NULL                      -- as JSON
);
CREATE INDEX contact_person ON contact (person, id);

-- What was done to them, for ever.
CREATE TABLE contact_log (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  at     BIGINT NOT NULL,
  person TEXT   NOT NULL,
  via    TEXT   NOT NULL,
  what   TEXT   NOT NULL
);
CREATE INDEX contact_log_person ON contact_log (person, id);
