-- +goose Up

-- The most severe pages of a receiver that are due, and the next one, are found
-- without looking at all that wait.
DROP INDEX page_pending;
CREATE INDEX page_pending ON page (method, severity, due_at) WHERE state = 'pending';
CREATE INDEX page_leased ON page (method, lease_until) WHERE state = 'pending' AND lease_until <> 0;
