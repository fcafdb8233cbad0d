package watchbill_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

func auditLog(n int) []watchbill.AuditEntry {
	var all []watchbill.AuditEntry
	var head watchbill.AuditHead
	for i := range n {
		e := watchbill.AuditEntry{At: time.Unix(int64(i), 5), Kind: watchbill.AuditSilenceMade, Actor: "ana", Object: "s", Text: "text <&>", Detail: "why", Salt: "salt"}
		if i == 1 {
			e.Detail, e.Salt = "", ""
		}
		e = e.Follow(head.Seq, head.Hash)
		head = watchbill.AuditHead{Seq: e.Seq, Hash: e.Hash}
		all = append(all, e)
	}
	return all
}

func wrongWith(all []watchbill.AuditEntry, heads ...watchbill.AuditHead) []string {
	v := watchbill.AuditVerifier{Heads: heads}
	var wrong []string
	for _, e := range all {
		if err := v.Check(e); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	for _, err := range v.End() {
		wrong = append(wrong, err.Error())
	}
	return wrong
}

// Each way of altering an audit log shows, and where; cutting its end off, or
// writing it anew, shows to whoever knows a head.
func TestAuditLogTellsTampering(t *testing.T) {
	t.Parallel()
	log := auditLog(5)
	published := watchbill.AuditHead{Seq: 4, Hash: log[3].Hash[:13]}
	require.Empty(t, wrongWith(log, published))

	for name, c := range map[string]struct {
		tamper func(all []watchbill.AuditEntry) []watchbill.AuditEntry
		want   string
	}{
		"actor":                   {func(a []watchbill.AuditEntry) []watchbill.AuditEntry { a[2].Actor = "ben"; return a }, "entry 3 of the audit log was altered after it was written"},
		"time":                    {func(a []watchbill.AuditEntry) []watchbill.AuditEntry { a[2].At = a[2].At.Add(1); return a }, "entry 3 of the audit log was altered after it was written"},
		"detail":                  {func(a []watchbill.AuditEntry) []watchbill.AuditEntry { a[2].Detail = "because"; return a }, "the detail of entry 3 of the audit log was altered"},
		"a detail that never was": {func(a []watchbill.AuditEntry) []watchbill.AuditEntry { a[1].Detail = "x"; return a }, "the detail of entry 2 of the audit log was altered"},
		"deleted":                 {func(a []watchbill.AuditEntry) []watchbill.AuditEntry { return slices.Delete(a, 1, 2) }, "entry 2 of the audit log is missing: found 3 in its place"},
		"exchanged":               {func(a []watchbill.AuditEntry) []watchbill.AuditEntry { a[1], a[2] = a[2], a[1]; return a }, "entry 2 of the audit log is missing: found 3 in its place"},
		"hash and all": {func(a []watchbill.AuditEntry) []watchbill.AuditEntry {
			a[2].Actor = "ben"
			a[2].Hash = a[2].Sum()
			return a
		}, "entry 4 of the audit log does not follow the one before it"},
		"cut off": {func(a []watchbill.AuditEntry) []watchbill.AuditEntry { return a[:3] }, "the audit log ends with entry 3, and 4:" + published.Hash + " was published: its end was cut off"},
		"written anew": {func(a []watchbill.AuditEntry) []watchbill.AuditEntry {
			a[2].Actor = "ben"
			for i := 2; i < len(a); i++ {
				a[i] = a[i].Follow(a[i-1].Seq, a[i-1].Hash)
			}
			return a
		}, "entry 4 of the audit log is not the one that was published as 4:" + published.Hash},
		"erased in secret": {func(a []watchbill.AuditEntry) []watchbill.AuditEntry {
			a[2].Detail, a[2].Salt, a[2].Erased = "", "", true
			return a
		}, "the detail of entry 3 of the audit log is gone, and no entry says that it was erased"},
	} {
		wrong := wrongWith(c.tamper(slices.Clone(log)), published)
		require.NotEmpty(t, wrong, name)
		require.Contains(t, wrong[0], c.want, name)
	}

	erased := slices.Clone(log)
	erased[2].Detail, erased[2].Salt, erased[2].Erased = "", "", true
	erased = append(erased, watchbill.AuditEntry{Kind: watchbill.AuditErased, Object: "1 3"}.Follow(5, log[4].Hash))
	require.Empty(t, wrongWith(erased, published))
}

func TestParseAuditHead(t *testing.T) {
	t.Parallel()
	h, err := watchbill.ParseAuditHead(" 57:1F0C0a9b3d2e4 ")
	require.NoError(t, err)
	require.Equal(t, watchbill.AuditHead{Seq: 57, Hash: "1f0c0a9b3d2e4"}, h)
	require.Equal(t, "57:1f0c0a9b3d2e4", h.Short())
	for _, bad := range []string{"", "57", "57:", "57:1f0c", "x:1f0c0a9b3d2e4", "0:1f0c0a9b3d2e4", "57:1f0c0a9b3d2eg"} {
		_, err := watchbill.ParseAuditHead(bad)
		require.ErrorContains(t, err, "is not a head of the audit log", bad)
	}
}
