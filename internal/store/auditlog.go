package store

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"

	"watchbill"
)

const auditColumns = `seq, at, kind, actor, via, object, text, detail, detail_sum, salt, erased, prev, hash`

// PutAudit appends an entry to the audit log, in the transaction of what it tells
// of. Its time is the caller's; number, salt and hashes are given here.
func (t *Tx) PutAudit(e watchbill.AuditEntry) (watchbill.AuditEntry, error) {
	head, err := t.AuditHead()
	if err != nil {
		return e, err
	}
	if e.Detail != "" {
		e.Salt = rand.Text()
	}
	e = e.Follow(head.Seq, head.Hash)
	_, err = t.exec("append to the audit log", `INSERT INTO audit_log (`+auditColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)`,
		e.Seq, unix(e.At), string(e.Kind), e.Actor, e.Via, e.Object, e.Text, e.Detail, e.DetailSum, e.Salt, e.Prev, e.Hash)
	return e, err
}

// AuditHead returns number and hash of the last entry; zero if there is none.
func (t *Tx) AuditHead() (h watchbill.AuditHead, err error) {
	_, err = t.row("read the end of the audit log", []any{&h.Seq, &h.Hash}, `SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1`)
	return h, err
}

// AuditQuery says which entries are wanted: those after a number, of a kind, an
// actor and an object, from an instant on; empty is any.
type AuditQuery struct {
	After         int64
	Kind          watchbill.AuditKind
	Actor, Object string
	Since         time.Time
	Newest        bool // the newest first
	Limit         int
}

// AuditEntries returns entries of the audit log.
func (t *Tx) AuditEntries(q AuditQuery) ([]watchbill.AuditEntry, error) {
	order := "ASC"
	if q.Newest {
		order = "DESC"
	}
	var all []watchbill.AuditEntry
	err := t.each("read the audit log", func(rows *sql.Rows) error {
		var e watchbill.AuditEntry
		var at int64
		err := rows.Scan(&e.Seq, &at, &e.Kind, &e.Actor, &e.Via, &e.Object, &e.Text, &e.Detail, &e.DetailSum, &e.Salt, &e.Erased, &e.Prev, &e.Hash)
		e.At = fromUnix(at)
		all = append(all, e)
		return err
	}, `SELECT `+auditColumns+` FROM audit_log WHERE seq > ?1 AND (?2 = '' OR kind = ?2) AND (?3 = '' OR actor = ?3)
		AND (?4 = '' OR object = ?4) AND at >= ?5 ORDER BY seq `+order+` LIMIT ?6`,
		q.After, string(q.Kind), q.Actor, q.Object, unix(q.Since), q.Limit)
	return all, err
}

// EraseAudit erases the details of an actor's entries, and of those about them as
// an object, and returns the entries' numbers. The caller appends an entry that
// names them, in the same transaction.
func (t *Tx) EraseAudit(person string, limit int) ([]int64, error) {
	var all []int64
	err := t.each("look for what to erase", func(rows *sql.Rows) error {
		var seq int64
		err := rows.Scan(&seq)
		all = append(all, seq)
		return err
	}, `SELECT seq FROM audit_log WHERE (actor = ?1 OR object = ?1) AND detail <> '' AND erased = 0 ORDER BY seq LIMIT ?2`, person, limit)
	for _, seq := range all {
		if err == nil {
			_, err = t.exec("erase a detail", `UPDATE audit_log SET detail = '', salt = '', erased = 1 WHERE seq = ?`, seq)
		}
	}
	return all, err
}

// sealSize is how many incidents one seal covers.
const sealSize = 500

// Seal puts the heads of incidents that changed since the last seal into the audit
// log, and returns how many were left over.
func (t *Tx) Seal(now time.Time) (more bool, err error) {
	var heads []watchbill.SealedHead
	err = t.each("list incidents that changed", func(rows *sql.Rows) error {
		var h watchbill.SealedHead
		err := rows.Scan(&h.Incident, &h.Seq, &h.Head)
		heads = append(heads, h)
		return err
	}, `SELECT id, seq, head FROM incident INDEXED BY incident_unsealed WHERE seq <> sealed AND id > 0 ORDER BY id LIMIT ?`, sealSize)
	if err != nil || len(heads) == 0 {
		return false, err
	}
	for _, h := range heads {
		if _, err := t.exec("mark an incident as sealed", `UPDATE incident SET sealed = ? WHERE id = ?`, h.Seq, int64(h.Incident)); err != nil {
			return false, err
		}
	}
	text, err := encode(heads)
	if err != nil {
		return false, err
	}
	_, err = t.PutAudit(watchbill.AuditEntry{At: now, Kind: watchbill.AuditSeal, Actor: watchbill.ActorSelf, Object: fmt.Sprint(len(heads), " incidents"), Text: text})
	return len(heads) == sealSize, err
}

// auditPage is how many entries are read at once.
const auditPage = 1000

// VerifyAudit checks the audit log, and that each incident of a seal still has the
// event that the seal names, unless retention deleted it. It calls report for each
// thing that is wrong.
func (t *Tx) VerifyAudit(v *watchbill.AuditVerifier, report func(error)) (entries int, err error) {
	deleted, err := t.deletedHeads()
	if err != nil {
		return 0, err
	}
	for after := int64(0); ; {
		page, err := t.AuditEntries(AuditQuery{After: after, Limit: auditPage})
		if err != nil {
			return entries, err
		}
		for _, e := range page {
			entries++
			if err := v.Check(e); err != nil {
				report(err)
			} else if e.Kind == watchbill.AuditSeal {
				if err := t.verifySeal(e, deleted, report); err != nil {
					return entries, err
				}
			}
			after = max(after, e.Seq)
		}
		if len(page) < auditPage {
			break
		}
	}
	for _, err := range v.End() {
		report(err)
	}
	return entries, nil
}

// deletedHeads are the last events of incidents that retention deleted.
func (t *Tx) deletedHeads() (map[watchbill.IncidentID]int64, error) {
	all, err := t.Checkpoints()
	deleted := map[watchbill.IncidentID]int64{}
	for _, c := range all {
		deleted[c.Incident] = c.Seq
	}
	return deleted, err
}

func (t *Tx) verifySeal(e watchbill.AuditEntry, deleted map[watchbill.IncidentID]int64, report func(error)) error {
	heads, err := watchbill.SealIn(e)
	if err != nil {
		report(err)
		return nil
	}
	for _, h := range heads {
		if last, gone := deleted[h.Incident]; gone {
			if last < h.Seq {
				report(fmt.Errorf("%s had %d events at %s, and %d when retention deleted it", h.Incident, h.Seq, e.At.Format(time.RFC3339), last))
			}
			continue
		}
		hash := ""
		found, err := t.row("read a sealed event", []any{&hash}, `SELECT hash FROM event WHERE incident = ? AND seq = ?`, int64(h.Incident), h.Seq)
		switch {
		case err != nil:
			return err
		case !found:
			report(fmt.Errorf("event %d of %s was sealed at %s and is gone: the end of its timeline was cut off", h.Seq, h.Incident, e.At.Format(time.RFC3339)))
		case hash != h.Head:
			report(fmt.Errorf("event %d of %s is not the one that was sealed at %s: its timeline was written anew", h.Seq, h.Incident, e.At.Format(time.RFC3339)))
		}
	}
	return nil
}
