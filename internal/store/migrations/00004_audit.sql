-- +goose Up

-- Whether a page left the outbox without an attempt that says so, and who was
-- told already, is answered without reading the pages themselves.
DROP INDEX page_incident;
CREATE INDEX page_incident ON page (incident, generation, state, person);
CREATE INDEX attempt_final ON attempt (page) WHERE result IN ('delivered', 'dropped', 'refused');
