package store

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/stretchr/testify/require"

	_ "watchbill/internal/golden" // the flag -update

	"watchbill"
)

// Processes that open a new store at the same moment all find it whole.
func TestManyOpenANewStoreAtOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		path := filepath.Join(t.TempDir(), "w.db")
		var wg sync.WaitGroup
		var stores [2]*Store
		var errs [2]error
		for i := range stores {
			wg.Go(func() {
				if stores[i], errs[i] = Open(t.Context(), path); errs[i] == nil {
					errs[i] = stores[i].Update(t.Context(), put(fmt.Sprint("k", i)))
				}
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs[:]...))
		require.Equal(t, 2, count(t, stores[0]))
		require.NoError(t, errors.Join(stores[0].Close(), stores[1].Close()))
	}
}

// goldenIncident is what each golden store holds, in the words of every schema.
func goldenIncident() watchbill.Incident {
	return watchbill.Incident{
		ID: 1, Key: "checkout/prod/first-line", Generation: 2, State: watchbill.StateAcknowledged, Severity: watchbill.Sev2,
		Service: "checkout", Environment: "prod", Activity: "first-line", Title: "Customers cannot pay",
		Labels: watchbill.Labels{"alertname": "CheckoutErrors"}, OpenedAt: goldenTime(), AcknowledgedBy: "ana",
	}
}

func goldenTime() time.Time { return time.Date(2026, 11, 22, 3, 15, 0, 42, time.UTC) }

// writeGolden writes the golden store of a schema. The schema is a fact of the
// past: its file is written once, by the release that introduced it, and never
// again. The statements are those of that release.
func writeGolden(t *testing.T, version int64, file string) {
	path := filepath.Join(t.TempDir(), "w.db")
	db, err := sql.Open("sqlite", dsn(path, "foreign_keys(1)"))
	require.NoError(t, err)
	p, err := migrator(db)
	require.NoError(t, err)
	_, err = p.UpTo(t.Context(), version)
	require.NoError(t, err)

	inc := goldenIncident()
	var events []watchbill.Event
	for i, kind := range []watchbill.EventKind{watchbill.EventOpened, watchbill.EventStepFired, watchbill.EventAcknowledged} {
		events = append(events, inc.Record(watchbill.Event{At: goldenTime().Add(time.Duration(i) * time.Minute), Kind: kind, Actor: "ana", Text: fmt.Sprint("event ", i+1, " <&>")}))
	}
	exec := func(query string, args ...any) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), query, args...)
		require.NoError(t, err)
	}
	body, err := encode(inc)
	require.NoError(t, err)
	exec(`INSERT INTO incident (id, key, state, severity, service, opened_at, seq, head, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		inc.ID, inc.Key, inc.State, int(inc.Severity), inc.Service, unix(inc.OpenedAt), inc.Seq, inc.Head, body)
	for _, e := range events {
		exec(`INSERT INTO event (incident, seq, at, kind, actor, via, text, data, prev, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			e.Incident, e.Seq, unix(e.At), e.Kind, e.Actor, e.Via, e.Text, string(e.Data), e.Prev, e.Hash)
	}
	alert := watchbill.Alert{Labels: inc.Labels, StartsAt: inc.OpenedAt, EndsAt: inc.OpenedAt.Add(time.Hour)}
	body, err = encode(alert)
	require.NoError(t, err)
	exec(`INSERT INTO alert (fingerprint, incident, ends_at, ended, due_at, muted, body) VALUES (?, 1, ?, 0, ?, '', ?)`,
		alert.Fingerprint(), unix(alert.EndsAt), unix(alert.EndsAt), body)
	exec(`INSERT INTO timer (kind, incident, generation, step, due_at) VALUES ('ack', 1, 2, 0, ?)`, unix(goldenTime().Add(time.Hour)))
	page := watchbill.Page{Incident: 1, Generation: 2, Person: "ana", Method: "push", Due: goldenTime()}
	body, err = encode(page)
	require.NoError(t, err)
	exec(`INSERT INTO page (key, incident, generation, step, person, method, severity, due_at, state, attempt, lease_until, body)
		VALUES (?, 1, 2, 0, 'ana', 'push', 2, ?, 'pending', 1, 0, ?)`, page.Key(), unix(page.Due), body)
	exec(`INSERT INTO attempt (page, attempt, at, result, detail) VALUES (1, 1, ?, 'retry', '503')`, unix(goldenTime()))
	body, err = encode(watchbill.Silence{ID: "s", EndsAt: goldenTime().Add(time.Hour), CreatedBy: "ana"})
	require.NoError(t, err)
	exec(`INSERT INTO silence (id, ends_at, body) VALUES ('s', ?, ?)`, unix(goldenTime().Add(time.Hour)), body)
	exec(`INSERT INTO token (id, hash, body) VALUES ('t', 'hash', '{}')`)
	if version >= 5 {
		exec(`INSERT INTO expected_heartbeat (name, body, evidence) VALUES ('backup', '{"since": "2026-11-22T03:15:00Z"}', x'6f6b')`)
	}
	if version >= 6 {
		exec(`INSERT INTO alert_history (at, starts_at, fingerprint, incident, body) VALUES (?, ?, 'f00d', 0, '{"labels": {"alertname": "Old"}}')`, unix(goldenTime()), unix(goldenTime()))
	}
	if version >= 7 {
		exec(`INSERT INTO decision (at, fingerprint, body) VALUES (?, 'f00d', '{"alert": "f00d", "ruling": "muted"}')`, unix(goldenTime()))
	}
	if version >= 8 {
		exec(`INSERT INTO intake_key (source, key, fingerprint) VALUES ('ci', 'k', ?)`, alert.Fingerprint())
	}
	if version >= 10 {
		e := watchbill.AuditEntry{At: goldenTime(), Kind: watchbill.AuditStarted, Actor: watchbill.ActorSelf, Text: "version 1"}.Follow(0, "")
		exec(`INSERT INTO audit_log (seq, at, kind, actor, via, object, text, detail, detail_sum, salt, erased, prev, hash) VALUES (1, ?, ?, ?, '', '', ?, '', '', '', 0, '', ?)`,
			unix(e.At), e.Kind, e.Actor, e.Text, e.Hash)
	}
	if version >= 9 {
		exec(`INSERT INTO receipt (page, kind, at, detail) VALUES (1, 'opened', ?, '')`, unix(goldenTime()))
		exec(`INSERT INTO message (page, body) VALUES (1, '{"page": 1, "integration": "slack[0]", "channel": "C1", "stamp": "17.5"}')`)
	}
	if version >= 11 {
		body := `{"id":1,"kind":"leave","instead":"ana","from":"2026-11-29T03:15:00Z","to":"2036-11-29T03:15:00Z","reason":"away","author":"ana","made_at":"2026-11-29T03:15:00Z"}`
		exec(`INSERT INTO duty_change (until_at, body, prev, hash) VALUES (?, ?, '', ?)`, unix(goldenTime().AddDate(10, 0, 0)), body, watchbill.ChainDutyChange("", []byte(body)))
	}
	if version >= 12 {
		exec(`INSERT INTO change_record (id, state, service, environment, incident, updated_at, due_at, seq, head, body)
			VALUES (1, 'requested', 'checkout', 'prod', 1, ?, 0, 0, '', '{"id": 1, "state": "requested", "requester": "carla"}')`, unix(goldenTime()))
	}
	if version >= 13 {
		exec(`INSERT INTO session (hash, person, body) VALUES ('cookie', 'ana', '{"person": "ana"}')`)
		exec(`INSERT INTO password (person, body) VALUES ('ana', '{"person": "ana"}')`)
		exec(`INSERT INTO invitation (person, hash, body) VALUES ('ben', 'code', '{"person": "ben"}')`)
	}
	if version >= 14 {
		exec(`INSERT INTO handover (at, role, body) VALUES (?, 'support', '{"id": 1, "role": "support", "by": "ana"}')`, unix(goldenTime()))
		exec(`INSERT INTO calendar (hash, body) VALUES ('hash', '{"id": 1, "person": "ana"}')`)
	}
	require.NoError(t, db.Close())

	plain, err := os.ReadFile(path)
	require.NoError(t, err)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err = z.Write(plain)
	require.NoError(t, errors.Join(err, z.Close()))
	require.NoError(t, os.WriteFile(file, packed.Bytes(), 0o644))
}

// The store of each released schema opens, is brought to the newest schema, and
// holds what it held.
func TestGoldenStores(t *testing.T) {
	t.Parallel()
	entries, err := migrations.ReadDir("migrations")
	require.NoError(t, err)
	for _, entry := range entries {
		version, err := goose.NumericComponent(entry.Name())
		require.NoError(t, err)
		file := filepath.Join("testdata", fmt.Sprintf("schema-%05d.db.gz", version))
		if _, err := os.Stat(file); err != nil && flag.Lookup("update").Value.String() == "true" {
			writeGolden(t, version, file)
		}
		t.Run(entry.Name(), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "w.db")
			packed, err := os.Open(file)
			require.NoError(t, err, "a schema needs its golden store: go test ./internal/store -update")
			defer packed.Close()
			z, err := gzip.NewReader(packed)
			require.NoError(t, err)
			plain, err := io.ReadAll(z)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, plain, 0o600))
			checkGolden(t, path, version)
			checkGolden(t, path, version) // and once more, now that it is of the newest schema
		})
	}
}

func checkGolden(t *testing.T, path string, version int64) {
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	require.NoError(t, s.Check(t.Context()))
	require.False(t, s.Held())
	now := goldenTime()
	require.NoError(t, s.View(t.Context(), func(tx *Tx) error {
		got, err := tx.Incident(1)
		require.NoError(t, err)
		want := goldenIncident()
		want.Seq, want.Head = 3, got.Head
		require.Equal(t, want, got)
		events, err := tx.Events(1)
		require.NoError(t, err)
		require.NoError(t, watchbill.VerifyChain(events, got.Head))
		alerts, err := tx.AlertsOf(1)
		require.NoError(t, err)
		require.Len(t, alerts, 1)
		require.Equal(t, now.Add(time.Hour), alerts[0].EndsAt)
		due, err := tx.DueTimers(now.Add(time.Hour), 10)
		require.NoError(t, err)
		require.Len(t, due, 1)
		pages, err := tx.PagesOf(1)
		require.NoError(t, err)
		require.Len(t, pages, 1)
		require.Equal(t, "INC-1/2/0/ana/push", pages[0].Key())
		attempts, err := tx.AttemptsOf(1)
		require.NoError(t, err)
		require.Len(t, attempts, 1)
		silences, err := tx.Silences(now)
		require.NoError(t, err)
		require.Len(t, silences, 1)
		_, found, err := tx.Token("hash")
		require.True(t, found)
		require.NoError(t, err)
		beats, err := tx.HeartbeatRows()
		require.Equal(t, version >= 5, len(beats) == 1)
		require.NoError(t, err)
		decisions, err := tx.MutedDecisions("f00d", 5)
		require.Equal(t, version >= 7, len(decisions) == 1)
		require.NoError(t, err)
		history, err := tx.Occurrences(OccurrenceQuery{Limit: 5})
		require.Equal(t, version >= 6, len(history) == 1)
		require.NoError(t, err)
		receipts, err := tx.ReceiptsOf(1)
		require.Equal(t, version >= 9, len(receipts) == 1 && receipts[0].At.Equal(now))
		require.NoError(t, err)
		messages, err := tx.MessagesOf(1)
		require.Equal(t, version >= 9, len(messages) == 1 && messages[0].Stamp == "17.5")
		require.NoError(t, err)
		sessions, err := tx.Sessions("ana")
		require.Equal(t, version >= 13, len(sessions) == 1)
		require.NoError(t, err)
		_, found, err = tx.Password("ana")
		require.Equal(t, version >= 13, found)
		require.NoError(t, err)
		_, found, err = tx.Invitation("code")
		require.Equal(t, version >= 13, found)
		require.NoError(t, err)
		keyed, found, kerr := tx.KeyedAlert("ci", "k")
		require.NoError(t, kerr)
		require.Equal(t, version >= 8, found && keyed.Name() == "CheckoutErrors")
		changes, cerr := tx.Changes(ChangeQuery{Limit: 5})
		require.NoError(t, cerr)
		require.Equal(t, version >= 12, len(changes) == 1 && changes[0].Requester == "carla")
		handovers, herr := tx.Handovers("support", 5)
		require.NoError(t, herr)
		require.Equal(t, version >= 14, len(handovers) == 1 && handovers[0].By == "ana")
		entries, aerr := tx.VerifyAudit(&watchbill.AuditVerifier{}, func(err error) { t.Error(err) })
		require.NoError(t, aerr)
		require.Equal(t, version >= 10, entries == 1)
		return err
	}))
	require.NoError(t, s.Update(t.Context(), func(tx *Tx) error {
		claimed, err := tx.ClaimPages(Claim{Method: "push", Now: now, Lease: time.Minute, Limit: 5})
		require.Len(t, claimed, 1)
		_, release := tx.ReleaseLeases()
		return errors.Join(err, release, tx.putBack(claimed[0].ID))
	}))
	require.NoError(t, s.Close())
}

// putBack undoes the counting of an attempt, so that a golden store can be
// checked twice.
func (t *Tx) putBack(page int64) error {
	_, err := t.exec("put back", `UPDATE page SET attempt = 1 WHERE id = ?`, page)
	return err
}
