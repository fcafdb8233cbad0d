package watchbill

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// AuditKind says what an entry of the audit log records.
type AuditKind string

// The kinds of entry. The strings are stored and exported: never change one.
const (
	AuditStarted         AuditKind = "started"          // the daemon, with the configuration that it read
	AuditReloaded        AuditKind = "reloaded"         // another configuration came into force
	AuditReloadRefused   AuditKind = "reload_refused"   // one with mistakes did not
	AuditTokenCreated    AuditKind = "token_created"    //
	AuditTokenRevoked    AuditKind = "token_revoked"    //
	AuditInvited         AuditKind = "invited"          // a person, to choose a password
	AuditPasswordSet     AuditKind = "password_set"     // by its person
	AuditSignedIn        AuditKind = "signed_in"        // with a browser
	AuditSignInRefused   AuditKind = "sign_in_refused"  // to whoever tried
	AuditSessionEnded    AuditKind = "session_ended"    // by a person, or because its person left
	AuditRefused         AuditKind = "refused"          // a person or a machine may not do what it asked for
	AuditSilenceMade     AuditKind = "silence_made"     // or asked for, when it takes a second person
	AuditSilenceApproved AuditKind = "silence_approved" // by the second person
	AuditSilenceEnded    AuditKind = "silence_ended"    // by a person, before its time
	AuditContact         AuditKind = "contact"          // a person changed how they are reached
	AuditDuty            AuditKind = "duty"             // a person changed who is on duty
	AuditHandover        AuditKind = "handover"         // somebody who comes on duty accepted the pack
	AuditCalendar        AuditKind = "calendar"         // a calendar feed was made or revoked
	AuditReleased        AuditKind = "released"         // what a restore held
	AuditDropped         AuditKind = "dropped"          // what a restore held
	AuditErased          AuditKind = "erased"           // the details of other entries
	AuditSeal            AuditKind = "seal"             // the heads of the incidents that changed since the last one
)

// AuditEntry is one thing that was done with the daemon. Entries are one hash
// chain: Hash covers Prev and everything else, the detail by its own sum, so that
// a detail can be erased and the chain still verifies.
//
// What happens to an incident is in its own chain of events instead. A seal puts
// the heads of these into this one.
type AuditEntry struct {
	Seq    int64     `json:"seq"` // from 1
	At     time.Time `json:"at"`
	Kind   AuditKind `json:"kind"`
	Actor  string    `json:"actor"`         // a person's id, "machine:NAME", "cli:USER", or "watchbill"
	Via    string    `json:"via,omitempty"` // api, cli, console, signal
	Object string    `json:"object,omitempty"`
	Text   string    `json:"text"`
	Detail string    `json:"detail,omitempty"`
	// DetailSum is the sum of Salt and Detail; empty if there never was a detail.
	DetailSum string `json:"detail_sum,omitempty"`
	Salt      string `json:"salt,omitempty"` // keeps an erased detail from being guessed
	Erased    bool   `json:"erased,omitempty"`
	Prev      string `json:"prev"`
	Hash      string `json:"hash"`
}

// Sum returns the SHA-256, in hexadecimal, of the entry as JSON without its own
// hash, its detail and the detail's salt, whose place DetailSum takes.
func (e AuditEntry) Sum() string {
	e.Hash, e.Detail, e.Salt, e.Erased = "", "", "", false
	e.At = e.At.UTC()
	b, err := json.Marshal(e)
	if err != nil { // a year beyond 9999
		b = fmt.Append(nil, e.Seq, e.At.UnixNano(), e.Kind, e.Actor, e.Via, e.Object, e.Text, e.DetailSum, e.Prev)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// SumDetail returns the SHA-256, in hexadecimal, of a salt and a detail.
func SumDetail(salt, detail string) string {
	sum := sha256.Sum256([]byte(salt + "\n" + detail))
	return hex.EncodeToString(sum[:])
}

// Follow makes e the next entry after one with this number and hash.
func (e AuditEntry) Follow(seq int64, hash string) AuditEntry {
	e.Seq, e.Prev, e.At = seq+1, hash, e.At.UTC()
	if e.Detail != "" {
		e.DetailSum = SumDetail(e.Salt, e.Detail)
	}
	e.Hash = e.Sum()
	return e
}

// AuditHead names one state of the audit log: how many entries there are, and the
// hash of the last one, or its beginning. Whoever keeps heads elsewhere can tell
// later whether what came before was altered or cut off.
type AuditHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// minHead is how many hexadecimal digits of a hash name it: 52 bits, as many as a
// metric's value holds.
const minHead = 13

// ParseAuditHead reads "57:1f0c…", with at least 13 digits of the hash.
func ParseAuditHead(s string) (AuditHead, error) {
	var h AuditHead
	number, hash, ok := strings.Cut(strings.TrimSpace(s), ":")
	_, err := fmt.Sscanf(number, "%d", &h.Seq)
	h.Hash = strings.ToLower(hash)
	if !ok || err != nil || h.Seq < 1 || len(h.Hash) < minHead || len(h.Hash) > 2*sha256.Size || strings.Trim(h.Hash, "0123456789abcdef") != "" {
		return h, Invalidf("write it as it was published, like 57:1f0c0a9b3d2e4", "%q is not a head of the audit log", s)
	}
	return h, nil
}

// Short is the head as it is published in few characters.
func (h AuditHead) Short() string {
	return fmt.Sprintf("%d:%s", h.Seq, h.Hash[:min(minHead, len(h.Hash))])
}

// AuditVerifier checks the entries of an audit log, oldest first. The zero value
// is ready.
type AuditVerifier struct {
	Heads []AuditHead // known from elsewhere

	seq    int64
	hash   string
	erased map[int64]bool // entries whose detail is gone
	said   map[int64]bool // entries of which a later one says that it was erased
}

// Check takes the next entry, and returns what is wrong with it, or nil.
func (v *AuditVerifier) Check(e AuditEntry) error {
	var err error
	switch {
	case e.Seq != v.seq+1:
		err = fmt.Errorf("entry %d of the audit log is missing: found %d in its place", v.seq+1, e.Seq)
	case e.Prev != v.hash:
		err = fmt.Errorf("entry %d of the audit log does not follow the one before it", e.Seq)
	case e.Hash != e.Sum():
		err = fmt.Errorf("entry %d of the audit log was altered after it was written", e.Seq)
	case !e.Erased && e.DetailSum != "" && e.DetailSum != SumDetail(e.Salt, e.Detail), e.DetailSum == "" && e.Detail != "":
		err = fmt.Errorf("the detail of entry %d of the audit log was altered after it was written", e.Seq)
	}
	v.seq, v.hash = e.Seq, e.Hash
	if v.erased == nil {
		v.erased, v.said = map[int64]bool{}, map[int64]bool{}
	}
	if e.Erased {
		v.erased[e.Seq] = true
	}
	if e.Kind == AuditErased {
		for _, seq := range ErasedIn(e) {
			v.said[seq] = true
		}
	}
	for _, h := range v.Heads {
		if err == nil && h.Seq == e.Seq && !strings.HasPrefix(e.Hash, h.Hash) {
			err = fmt.Errorf("entry %d of the audit log is not the one that was published as %s: the log was written anew up to there", e.Seq, h.Short())
		}
	}
	return err
}

// End returns what is wrong with the log as a whole.
func (v *AuditVerifier) End() []error {
	var all []error
	for _, h := range v.Heads {
		if h.Seq > v.seq {
			all = append(all, fmt.Errorf("the audit log ends with entry %d, and %s was published: its end was cut off", v.seq, h.Short()))
		}
	}
	for seq := range v.erased {
		if !v.said[seq] {
			all = append(all, fmt.Errorf("the detail of entry %d of the audit log is gone, and no entry says that it was erased", seq))
		}
	}
	return all
}

// Head is that of the entries so far.
func (v *AuditVerifier) Head() AuditHead { return AuditHead{v.seq, v.hash} }

// SealedHead is what a seal says of one incident: number and hash of its last
// event then.
type SealedHead struct {
	Incident IncidentID `json:"incident"`
	Seq      int64      `json:"seq"`
	Head     string     `json:"head"`
}

// SealIn returns the heads in a seal's text.
func SealIn(e AuditEntry) ([]SealedHead, error) {
	var all []SealedHead
	if err := json.Unmarshal([]byte(e.Text), &all); err != nil {
		return nil, fmt.Errorf("entry %d of the audit log is a seal that cannot be read: %w", e.Seq, err)
	}
	return all, nil
}

// ErasedIn returns the numbers of the entries whose details an entry says were
// erased.
func ErasedIn(e AuditEntry) []int64 {
	var all []int64
	for word := range strings.FieldsSeq(e.Object) {
		var n int64
		if _, err := fmt.Sscanf(word, "%d", &n); err == nil {
			all = append(all, n)
		}
	}
	return all
}
