package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/config"
	"watchbill/internal/store"
	"watchbill/internal/watchdog"
	"watchbill/internal/web"
)

// maxChanges is how many changed keys of a configuration an entry names.
const maxChanges = 100

// audit appends an entry to the audit log, in the transaction of what it tells of.
func (w *work) audit(who web.Actor, e watchbill.AuditEntry) error {
	e.At, e.Actor, e.Via = w.now, string(who.Person), who.Via
	_, err := w.tx.PutAudit(e)
	return err
}

// auditOf is an entry about a silence. What its author wrote is a detail, which can
// be erased.
func auditOf(kind watchbill.AuditKind, s watchbill.Silence) watchbill.AuditEntry {
	var matchers []string
	for _, m := range s.Matchers {
		matchers = append(matchers, m.String())
	}
	e := watchbill.AuditEntry{Kind: kind, Object: s.ID, Text: fmt.Sprintf("{%s} until %s", strings.Join(matchers, ", "), s.EndsAt.UTC().Format(time.RFC3339)), Detail: s.Comment}
	if s.NeedsApproval != "" && s.ApprovedBy == "" {
		e.Text += "; it mutes nothing before a second person approves it: " + s.NeedsApproval
	}
	return e
}

// tellStarted records that the daemon started, and with which configuration.
func (d *Daemon) tellStarted(ctx context.Context, cfg *config.Config) error {
	return d.auditSelf(ctx, watchbill.AuditEntry{
		Kind: watchbill.AuditStarted, Object: filepath.Base(cfg.Path), Text: fmt.Sprintf("version %s, configuration %s", d.o.Version, cfg.Written.Sum()),
	})
}

// auditSelf records what the daemon did by itself.
func (d *Daemon) auditSelf(ctx context.Context, e watchbill.AuditEntry) error {
	return d.flow.update(ctx, func(w *work) error { return w.audit(web.Actor{Person: watchbill.ActorSelf}, e) })
}

// tellReloaded records a reload, with what it changed. A configuration is in force
// when this is called, so that a failure is only told.
func (d *Daemon) tellReloaded(ctx context.Context, who web.Actor, changes []string, refused error) {
	e := watchbill.AuditEntry{Kind: watchbill.AuditReloaded, Object: "configuration", Text: "nothing is written differently"}
	switch {
	case refused != nil:
		e = watchbill.AuditEntry{Kind: watchbill.AuditReloadRefused, Object: "configuration", Text: "it has mistakes; the one before stays in force"}
	case len(changes) > 0:
		e.Text = strings.Join(changes, "\n")
	}
	if who.Person == "" {
		who = web.Actor{Person: watchbill.ActorSelf, Via: "signal"}
	}
	if err := d.flow.update(ctx, func(w *work) error { return w.audit(who, e) }); err != nil {
		d.o.Logger.ErrorContext(ctx, "a reload could not be recorded in the audit log", "err", err)
	}
}

// refusedPause is how often the same refusal of the same caller is recorded.
const refusedPause = time.Minute

// maxRefusals bounds the refusals that are remembered.
const maxRefusals = 1000

// refusals remembers which refusals were recorded lately: whoever is refused a
// thousand times must not write a thousand entries.
type refusals struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (r *refusals) news(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.last[key]; ok && now.Sub(at) < refusedPause {
		return false
	}
	if r.last == nil || len(r.last) >= maxRefusals {
		r.last = map[string]time.Time{}
	}
	r.last[key] = now
	return true
}

// Refused records that somebody who is known may not do what they asked for.
func (f *flow) Refused(ctx context.Context, r web.Refusal) {
	who := string(r.Who.Person)
	if who == "" {
		who = "machine:" + r.Machine
	}
	if !f.refusals.news(who+" "+r.What, time.Now()) {
		return
	}
	err := f.update(ctx, func(w *work) error {
		return w.audit(web.Actor{Person: watchbill.PersonID(who), Via: r.Who.Via}, watchbill.AuditEntry{Kind: watchbill.AuditRefused, Object: r.What, Text: r.Why})
	})
	if err != nil {
		f.logger.ErrorContext(ctx, "a refusal could not be recorded in the audit log", "err", err)
	}
}

// auditPage is how many entries are shown unless asked otherwise, and at most.
const (
	auditPage    = 100
	maxAuditPage = 1000
)

// AuditLog returns entries of the audit log.
func (f *flow) AuditLog(ctx context.Context, q web.AuditQuery) (page web.AuditPage, err error) {
	limit := q.Limit
	if limit <= 0 {
		limit = auditPage
	}
	page.Entries = []watchbill.AuditEntry{}
	err = f.store.View(ctx, func(tx *store.Tx) error {
		if page.Head, err = tx.AuditHead(); err != nil {
			return err
		}
		all, err := tx.AuditEntries(store.AuditQuery{
			After: q.After, Kind: q.Kind, Actor: q.Actor, Object: q.Object, Since: q.Since, Newest: !q.Oldest, Limit: min(limit, maxAuditPage),
		})
		page.Entries = append(page.Entries, all...)
		return err
	})
	return page, err
}

// eraseBatch is how many details one transaction erases.
const eraseBatch = 500

// EraseAudit erases the details of what a person did, and of what was done about
// them, and says so in the log.
func (f *flow) EraseAudit(ctx context.Context, who web.Actor, person watchbill.PersonID, reason string) (erased int, err error) {
	if strings.TrimSpace(reason) == "" {
		return 0, watchbill.Invalidf("say why, as with the number of the request", "reason: it is missing")
	}
	for {
		n := 0
		err := f.update(ctx, func(w *work) error {
			numbers, err := w.tx.EraseAudit(string(person), eraseBatch)
			if n = len(numbers); err != nil || n == 0 {
				return err
			}
			return w.audit(who, watchbill.AuditEntry{
				Kind: watchbill.AuditErased, Object: strings.Trim(fmt.Sprint(numbers), "[]"), Text: fmt.Sprintf("erased the details of %d entries: %s", n, reason),
			})
		})
		erased += n
		if err != nil || n < eraseBatch {
			return erased, err
		}
	}
}

// seal puts the heads of incidents into the audit log, and publishes the log's own.
func (d *Daemon) seal(ctx context.Context) {
	head, err := d.flow.seal(ctx)
	if err != nil {
		d.o.Logger.ErrorContext(ctx, "cannot seal the incidents in the audit log; trying again within the hour", "err", err)
		return
	}
	d.stats.auditSeq.Set(float64(head.Seq))
	d.stats.auditHead.Set(headValue(head))
	if err := d.publish(ctx, head); err != nil {
		d.o.Logger.ErrorContext(ctx, "the head of the audit log could not be published; trying again within the hour", "err", err)
		return
	}
	d.stats.published.SetToCurrentTime()
}

// headValue is the first 52 bits of a head's hash, which a metric's value holds
// exactly.
func headValue(h watchbill.AuditHead) float64 {
	n, err := strconv.ParseUint(h.Hash[:min(13, len(h.Hash))], 16, 64)
	if err != nil {
		return 0
	}
	return float64(n)
}

func (f *flow) seal(ctx context.Context) (h watchbill.AuditHead, err error) {
	for more := true; more; {
		err = f.update(ctx, func(w *work) error {
			if more, err = w.tx.Seal(w.now); err != nil {
				return err
			}
			h, err = w.tx.AuditHead()
			return err
		})
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

// publish sends the head of the audit log to a place that whoever can write the
// store cannot change.
func (d *Daemon) publish(ctx context.Context, h watchbill.AuditHead) error {
	to := d.rooms.Load().auditURL
	if to.Empty() || h.Seq == 0 {
		return nil
	}
	body, err := json.Marshal(struct {
		watchbill.AuditHead
		At time.Time `json:"at"`
	}{h, time.Now().UTC()})
	if err != nil {
		return err
	}
	return watchdog.Publish(ctx, to, body, d.o.DialContext)
}

// Audit checks the event chains and the audit log in a store, and calls report for
// each thing that is wrong. The daemon may run meanwhile. With a file it checks that
// one, such as a backup, and leaves it as it is.
func Audit(ctx context.Context, cfg *config.Config, q AuditCheck) (a AuditResult, err error) {
	path := cfg.Store
	if q.File != "" {
		dir, err := os.MkdirTemp(cfg.DataDir, ".audit-*")
		if err != nil {
			return a, fmt.Errorf("copy what is to be verified: %w", err)
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "w.db")
		if err := copyStore(q.File, path); err != nil {
			return a, err
		}
	}
	if _, err := os.Stat(path); err != nil {
		return a, watchbill.Errorf(watchbill.CodeNotFound, "check --config, and store: in it", "there is no store to verify: %v", err)
	}
	s, err := store.Open(ctx, path)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Check(ctx); err != nil {
		return a, err
	}
	return verifyRecord(ctx, s, q)
}

// copyStore copies the file of a store with its log, byte for byte.
func copyStore(from, to string) error {
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(from + suffix)
		if suffix != "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return watchbill.Errorf(watchbill.CodeNotFound, "name a backup, or the file of a store", "there is nothing to verify: %v", err)
		}
		if err := os.WriteFile(to+suffix, b, 0o600); err != nil {
			return fmt.Errorf("copy what is to be verified: %w", err)
		}
	}
	return nil
}

// AuditCheck says what is verified.
type AuditCheck struct {
	File   string                // instead of the configuration's store
	Heads  []watchbill.AuditHead // that were published
	Report func(where string, err error)
}

// AuditResult counts what was verified.
type AuditResult struct {
	Incidents int                 `json:"incidents"`
	Events    int                 `json:"events"`
	Entries   int                 `json:"entries"` // of the audit log
	Head      watchbill.AuditHead `json:"head"`    // of the audit log
	Broken    int                 `json:"broken"`  // things that are wrong
}

// verifyRecord checks the event chain of every incident and change, and the audit log.
func verifyRecord(ctx context.Context, s *store.Store, q AuditCheck) (AuditResult, error) {
	var a AuditResult
	wrong := func(where string, err error) {
		a.Broken++
		q.Report(where, err)
	}
	err := s.View(ctx, func(tx *store.Tx) error {
		a = AuditResult{}
		err := tx.Chains(func(id watchbill.IncidentID, head string, events []watchbill.Event) error {
			a.Incidents++
			a.Events += len(events)
			if err := watchbill.VerifyChain(events, head); err != nil {
				wrong(id.String(), err)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := tx.VerifyCheckpoints(func(id watchbill.IncidentID, err error) { wrong(id.String(), err) }); err != nil {
			return err
		}
		if _, err := tx.VerifyDutyLog(); err != nil {
			wrong("log of the duty", err)
		}
		n, err := tx.VerifyChanges(func(id watchbill.ChangeID, err error) { wrong(id.String(), err) })
		if err != nil {
			return err
		}
		a.Events += n
		v := &watchbill.AuditVerifier{Heads: q.Heads}
		a.Entries, err = tx.VerifyAudit(v, func(err error) { wrong("audit log", err) })
		a.Head = v.Head()
		return err
	})
	return a, err
}

// ExportAudit calls each with every entry of the audit log of a configuration's
// store, oldest first.
func ExportAudit(ctx context.Context, cfg *config.Config, each func(watchbill.AuditEntry) error) (err error) {
	if _, err := os.Stat(cfg.Store); err != nil {
		return watchbill.Errorf(watchbill.CodeNotFound, "check --config, and store: in it", "there is no store to export from: %v", err)
	}
	s, err := store.Open(ctx, cfg.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.View(ctx, func(tx *store.Tx) error {
		for after := int64(0); ; {
			all, err := tx.AuditEntries(store.AuditQuery{After: after, Limit: maxAuditPage})
			if err != nil {
				return err
			}
			for _, e := range all {
				if err := each(e); err != nil {
					return err
				}
				after = e.Seq
			}
			if len(all) < maxAuditPage {
				return nil
			}
		}
	})
}

// auditToken is the entry about a token that was made.
func auditToken(tok auth.Token) watchbill.AuditEntry {
	of := string(tok.Person)
	if of == "" {
		of = "machine " + tok.Name
	}
	return watchbill.AuditEntry{
		Kind: watchbill.AuditTokenCreated, Object: tok.ID, Actor: tok.CreatedBy, Via: "cli",
		Text: fmt.Sprintf("of %s, scopes %v, until %s", of, tok.Scopes, tok.ExpiresAt.UTC().Format(time.RFC3339)),
	}
}
