package runbooks

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestParseGolden(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"checkout", "broken"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(filepath.Join("testdata", name+".md"))
			require.NoError(t, err)
			r, problems := Parse(name, content)
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			source := r.Source
			r.Source = nil
			require.NoError(t, enc.Encode(r))
			require.NoError(t, enc.Encode(r.Attach("because")))
			for _, p := range problems {
				b.WriteString(p.String())
				if p.Warning {
					b.WriteString(" (warning)")
				}
				b.WriteByte('\n')
			}
			r.Source = source
			html, err := r.HTML()
			require.NoError(t, err)
			b.Write(html)
			golden(t, name+".golden", b.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run go test ./runbooks -update if the change is meant")
}

func TestParseProblems(t *testing.T) {
	t.Parallel()
	const good = "---\nowner: a\nreviewed: 2026-01-01\n---\n# T\n## Quick reference\n- Look.\n"
	_, problems := Parse("good", []byte(good))
	require.Empty(t, problems)
	_, problems = Parse("good", []byte("\uFEFF"+strings.ReplaceAll(good, "\n", "\r\n")))
	require.Empty(t, problems, "a byte order mark and carriage returns are no mistake")

	for name, tc := range map[string]struct {
		content string
		want    string
	}{
		"empty":            {"", "x.md:1:1: the runbook has no front matter; "},
		"no front matter":  {"# T\n", "x.md:1:1: the runbook has no front matter; "},
		"open front":       {"---\nowner: a\n", "x.md:1:1: the front matter does not end; end it with a line ---"},
		"not YAML":         {"---\nowner: a\nmatch: [\n---\n", "x.md:3:1: the front matter is not YAML: "},
		"a list":           {"---\n- owner\n---\n", "x.md:2:1: the front matter is not a list of keys and values; "},
		"no owner":         {"---\n---\n", "x.md:1:1: the runbook has no owner; "},
		"empty owner":      {"---\nowner:\n---\n", "x.md:2:7: owner is empty or is not a single value; "},
		"owner is a list":  {"---\nowner: [a]\n---\n", "x.md:2:8: owner is empty or is not a single value; "},
		"never reviewed":   {"---\nowner: a\n---\n", "x.md:1:1: the runbook was never reviewed; "},
		"typo":             {"---\nservise: x\n---\n", `x.md:2:1: "servise" is not a key of a runbook's front matter; did you mean service?`},
		"strange key":      {"---\nimportance: 1\n---\n", `x.md:2:1: "importance" is not a key of a runbook's front matter; the keys are activities, levels,`},
		"twice":            {"---\nowner: a\nowner: b\n---\n", "x.md:3:1: owner is given twice; "},
		"bad regex":        {"---\nmatch: ['a=~\"(\"']\n---\n", `x.md:2:9: "a=~\"(\"" is not a matcher: `},
		"nested match":     {"---\nmatch: [[a]]\n---\n", "x.md:2:9: an entry of match is empty or is not a single value; "},
		"level of nothing": {"---\nlevels: 3\n---\n", "x.md:2:9: levels is not a list of skills and levels; "},
		"section typo":     {"---\n---\n# T\n\n## Roll back\n", `x.md:5:1: "Roll back" is not a section of a runbook; did you mean Rollback?`},
		"section unknown":  {"---\n---\n# T\n## History\n", `x.md:4:1: "History" is not a section of a runbook; the sections are Quick reference,`},
		"no title":         {"---\n---\n## Checks\n", "x.md:3:1: the runbook has no title; "},
		"not UTF-8":        {"---\n---\n# \xff\n", "x.md:1:1: the file is not UTF-8; save it as UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := Parse("x", []byte(tc.content))
			var all []string
			for _, p := range problems {
				require.NotEmpty(t, p.Hint, p.Message)
				if strings.HasPrefix(p.String(), tc.want) {
					return
				}
				all = append(all, p.String())
			}
			require.Fail(t, "no such problem", "want %s\nin %s", tc.want, strings.Join(all, "\n   "))
		})
	}
}

// A runbook whose match is half readable must not match what its author
// excluded.
func TestBrokenMatchMatchesNothing(t *testing.T) {
	t.Parallel()
	r, problems := Parse("x", []byte("---\nowner: a\nservice: checkout\nmatch: ['a=\"b\"', 'c=']\n---\n"))
	require.NotEmpty(t, problems)
	require.Empty(t, r.Match)
	require.Equal(t, "checkout", r.Service)
}

func TestLibrary(t *testing.T) {
	t.Parallel()
	l, problems, err := New(Config{})
	require.NoError(t, err)
	require.Empty(t, problems)
	var names []string
	// Commands that change something; a step with one of them needs two people.
	changes := regexp.MustCompile(`rollout undo|kubectl .*(delete|scale|drain|(un)?cordon) |systemctl restart|truncate|usermod|resize2fs`)
	for _, r := range l.All() {
		names = append(names, r.Name)
		require.True(t, r.Library)
		require.NotEmpty(t, r.Owner, r.Name)
		require.False(t, r.Reviewed.IsZero(), r.Name)
		require.LessOrEqual(t, len(r.Match), 1, "%s: a user's runbook with one matcher must win over it", r.Name)
		for _, name := range SectionNames() {
			s, ok := r.Section(name)
			require.True(t, ok, "%s has no section %s", r.Name, name)
			require.NotEmpty(t, s.Items, "%s: section %s has no list", r.Name, name)
		}
		require.Len(t, r.Sections, len(SectionNames()), r.Name)

		a := r.Attach("")
		require.LessOrEqual(t, strings.Count(a.QuickReference, "\n"), quickLines-1, r.Name)
		require.NotContains(t, a.QuickReference, "…", "%s: a line of the quick reference is too long", r.Name)
		require.NotContains(t, a.FirstAction, "…", "%s: the first action is too long", r.Name)
		quick, _ := r.Section(QuickReference)
		require.Len(t, quick.Text, quickLines, "%s: the quick reference must fit into a page", r.Name)
		for _, name := range []SectionName{Steps, Rollback} {
			s, _ := r.Section(name)
			for _, step := range s.Lines() {
				if changes.MatchString(step) {
					require.Contains(t, strings.ToLower(step), "two people", "%s: %s", r.Name, name)
				}
			}
		}
		html, err := r.HTML()
		require.NoError(t, err)
		require.NotContains(t, string(html), "raw HTML omitted", r.Name)
	}
	require.Equal(t, []string{
		"authentication-failures", "backup-and-restore", "certificate-expiry", "daily-health-checks", "dependency-down",
		"disaster-recovery", "disk-full", "error-budget-burn", "incident-response", "release-rollback",
	}, names)
}

func TestLibraryFitsCommonAlerts(t *testing.T) {
	t.Parallel()
	l, _, err := New(Config{})
	require.NoError(t, err)
	for alertname, want := range map[string]string{
		"TargetDown":                   "dependency-down",
		"InstanceDown":                 "dependency-down",
		"up":                           "dependency-down",
		"KubeNodeUnreachable":          "dependency-down",
		"BlackboxProbeFailed":          "dependency-down",
		"PrometheusTargetMissing":      "dependency-down",
		"NodeFilesystemSpaceFillingUp": "disk-full",
		"HostOutOfInodes":              "disk-full",
		"DiskFull":                     "disk-full",
		"AuthenticationFailures":       "authentication-failures",
		"SSHBruteForce":                "authentication-failures",
		"SlowDown":                     "incident-response",
		"CertificateAuthorityExpires":  "certificate-expiry",
		"BlackboxSslCertExpiringSoon":  "certificate-expiry",
		"KubeDeploymentRolloutStuck":   "release-rollback",
		"DeploymentReplicasMismatch":   "release-rollback",
		"BackupFailed":                 "backup-and-restore",
		"RegionDown":                   "disaster-recovery",
		"EtcdQuorumLost":               "disaster-recovery",
		"SuspiciousProcess":            "authentication-failures",
		"HealthCheckSlow":              "incident-response",
	} {
		a, ok := l.Find(watchbill.Labels{"alertname": alertname}, nil, watchbill.ActivityStates)
		require.True(t, ok, alertname)
		require.Equal(t, want, a.Name, alertname)
	}
}

func write(t *testing.T, dir, name, front string) {
	t.Helper()
	content := "---\nowner: support\nreviewed: 2026-11-01\n" + front +
		"---\n# Title of " + name + "\n## Quick reference\n- Look at " + name + ".\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, name+".md"), []byte(content), 0o644))
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "ops-notes")
	require.NoError(t, os.Mkdir(dir, 0o755))
	write(t, dir, "checkout", "service: checkout\n")
	write(t, dir, "checkout-prod", "service: checkout\nmatch: ['environment=\"prod\"']\n")
	write(t, dir, "a-target", "match: ['st=\"api\"']\n")
	write(t, dir, "disk-full", "match: ['alertname=\"DiskFull\"']\n")
	write(t, dir, "our-security", "activities: [security]\n")
	write(t, dir, "by-link-only", "")
	write(t, dir, "broken", "match: ['alertname=']\nservice: broken\n")
	l, problems, err := New(Config{Dir: dir})
	require.NoError(t, err)
	require.Len(t, problems, 1)
	require.Equal(t, "broken.md", problems[0].File)

	type labels = watchbill.Labels
	for name, tc := range map[string]struct {
		labels   labels
		url      string
		activity watchbill.ActivityID
		want     string // the URL of what is found
		reason   string
	}{
		"name in the annotation wins over match": {labels{"service": "checkout"}, "by-link-only", "states", "/runbooks/by-link-only", "runbook_url names it"},
		"name with .md":                          {nil, "by-link-only.md", "states", "/runbooks/by-link-only", "runbook_url names it"},
		"path":                                   {nil, "/runbooks/disk-full", "states", "/runbooks/disk-full", "runbook_url names it"},
		"relative path":                          {nil, "runbooks/disk-full.md", "states", "/runbooks/disk-full", "runbook_url names it"},
		"link with our path":                     {nil, "https://wb.example/runbooks/disk-full/?x=1#steps", "states", "/runbooks/disk-full", "runbook_url names it"},
		"link with the folder's name":            {nil, "https://git.example/x/ops-notes/checkout.md", "states", "/runbooks/checkout", "runbook_url names it"},
		"link elsewhere wins over match":         {labels{"service": "checkout"}, "https://wiki.example/x/disk-full", "states", "https://wiki.example/x/disk-full", "linked by runbook_url"},
		"neither name nor link": {
			labels{"service": "checkout"},
			"no-such", "states", "/runbooks/checkout",
			`matched service="checkout"; runbook_url "no-such" is neither a runbook here nor a link`,
		},
		"code is no link":                     {labels{"service": "checkout"}, "javascript:alert(1)", "states", "/runbooks/checkout", `matched service="checkout"; runbook_url "javascript:alert(1)" is neither a runbook here nor a link`},
		"no way out by a path":                {nil, "/runbooks/../../../etc/passwd", "none", "", ""},
		"no way out by a name":                {nil, "../../etc/passwd", "none", "", ""},
		"most matchers":                       {labels{"service": "checkout", "environment": "prod"}, "", "states", "/runbooks/checkout-prod", `matched environment="prod", service="checkout"`},
		"all matchers":                        {labels{"service": "checkout", "environment": "test"}, "", "states", "/runbooks/checkout", `matched service="checkout"`},
		"ours before the library":             {labels{"st": "api"}, "", "performance", "/runbooks/a-target", `matched st="api"`},
		"the library by match":                {labels{"st": "other"}, "", "performance", "/runbooks/error-budget-burn", `matched st!=""`},
		"names decide among equals":           {labels{"st": "api", "service": "checkout"}, "", "performance", "/runbooks/a-target", `matched st="api"`},
		"ours replaces the library's":         {labels{"alertname": "DiskFull"}, "", "states", "/runbooks/disk-full", `matched alertname="DiskFull"`},
		"activity is the last resort":         {labels{"service": "other"}, "", "states", "/runbooks/incident-response", "activity states"},
		"ours before the library by activity": {nil, "", "security", "/runbooks/our-security", "activity security"},
		"a broken match matches nothing":      {labels{"service": "broken"}, "", "none", "", ""},
		"nothing at all":                      {nil, "", "none", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, ok := l.Find(tc.labels, labels{"runbook_url": tc.url}, tc.activity)
			require.Equal(t, tc.want != "", ok)
			require.Equal(t, tc.want, a.URL)
			require.Equal(t, tc.reason, a.Reason)
			if ok && a.Name == "" {
				require.Equal(t, "wiki.example", a.Title)
				require.Empty(t, a.QuickReference)
				require.Empty(t, a.FirstAction)
			}
		})
	}

	a, _ := l.Find(nil, labels{"runbook_url": "by-link-only"}, "")
	require.Equal(t, Attached{
		Name: "by-link-only", Title: "Title of by-link-only", URL: "/runbooks/by-link-only",
		QuickReference: "- Look at by-link-only.", FirstAction: "Look at by-link-only.",
		Owner: "support", ReviewedAt: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		Reason: "runbook_url names it",
	}, a)
	ours, ok := l.Get("disk-full")
	require.True(t, ok)
	require.False(t, ours.Library)
	require.False(t, l.All()[0].Library)
}

func TestNewStaysInItsFolder(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret.md")
	require.NoError(t, os.WriteFile(outside, []byte("# secret\n"), 0o600))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "absolute.md")))
	require.NoError(t, os.Symlink("../"+filepath.Base(filepath.Dir(outside))+"/secret.md", filepath.Join(dir, "relative.md")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe.md"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "big.md"), make([]byte, maxSize+1), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a b.md"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.md"), 0o700))
	write(t, dir, "inside", "")
	require.NoError(t, os.Symlink("inside.md", filepath.Join(dir, "alias.md")))

	l, problems, err := New(Config{Dir: dir})
	require.NoError(t, err)
	var messages []string
	for _, p := range problems {
		messages = append(messages, p.String())
	}
	require.Len(t, problems, 5, strings.Join(messages, "\n"))
	require.Contains(t, messages[0], `"a b" cannot be the name of a runbook`)
	require.Contains(t, messages[1], "absolute.md:1:1: read the runbook: ")
	require.Contains(t, messages[1], "path escapes from parent")
	require.Contains(t, messages[2], "big.md:1:1: read the runbook: it is larger than 256 KiB")
	require.Contains(t, messages[3], "pipe.md:1:1: read the runbook: it is not a regular file")
	require.Contains(t, messages[4], "path escapes from parent")
	for name, want := range map[string]bool{"inside": true, "alias": true, "absolute": false, "relative": false, "README": false, "../inside": false} {
		_, ok := l.Get(name)
		require.Equal(t, want, ok, name)
	}

	_, _, err = New(Config{Dir: filepath.Join(dir, "none")})
	e, ok := errors.AsType[*watchbill.Error](err)
	require.True(t, ok)
	require.Equal(t, watchbill.CodeInvalid, e.Code)
	require.Contains(t, err.Error(), "set runbooks.dir to a folder")
}

func TestState(t *testing.T) {
	t.Parallel()
	reviewed := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		attached Attached
		now      time.Time
		want     string
	}{
		"elsewhere": {Attached{URL: "https://x"}, reviewed, ""},
		"never":     {Attached{Name: "x"}, reviewed, "never reviewed"},
		"today":     {Attached{Name: "x", ReviewedAt: reviewed}, reviewed.Add(20 * time.Hour), "reviewed today"},
		"ahead":     {Attached{Name: "x", ReviewedAt: reviewed}, reviewed.Add(-11 * time.Hour), "reviewed today"},
		"future":    {Attached{Name: "x", ReviewedAt: reviewed}, reviewed.AddDate(0, 0, -2), "never reviewed: its review is dated 2026-01-01"},
		"fresh":     {Attached{Name: "x", ReviewedAt: reviewed}, reviewed.AddDate(0, 0, 12), "reviewed 12 d ago"},
		"the last":  {Attached{Name: "x", ReviewedAt: reviewed}, reviewed.AddDate(0, 0, 181).Add(-1), "reviewed 180 d ago"},
		"stale":     {Attached{Name: "x", ReviewedAt: reviewed}, reviewed.AddDate(0, 0, 181), "STALE: reviewed 181 d ago"},
		"long":      {Attached{Name: "x", ReviewedAt: reviewed}, reviewed.AddDate(0, 0, 400), "STALE: reviewed 400 d ago"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, State(tc.attached, tc.now))
		})
	}
}

func TestStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "old", "")
	l, _, err := New(Config{Dir: dir})
	require.NoError(t, err)
	reviewed := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	require.Empty(t, l.Stale(reviewed.AddDate(0, 0, 180)))
	problems := l.Stale(reviewed.AddDate(0, 0, 181))
	require.Len(t, problems, 1)
	require.True(t, problems[0].Warning)
	require.Equal(t, "old.md:1:1: the runbook is not fresh: STALE: reviewed 181 d ago; "+
		"read it through and set reviewed: to today", problems[0].String())
	require.Len(t, l.Stale(reviewed.AddDate(-1, 0, 0)), 1, "a review in the future is none")
}

func TestFirstSentence(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Look first. Then act.":             "Look first.",
		"Use e.g. this one. Then that.":     "Use e.g. this one.",
		"Run `a. B` now! Then wait.":        "Run `a. B` now!",
		"No stop at all":                    "No stop at all",
		"Ends here.":                        "Ends here.",
		"Is it up? Then go.":                "Is it up?",
		"Version 1.2 is bad. Roll it back.": "Version 1.2 is bad.",
	} {
		require.Equal(t, want, firstSentence(in))
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*.md", "library/*.md"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			content, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(content)
		}
	}
	f.Add([]byte("---\na: &a [*a]\n---\n# x\n## Checks\n- - - > `x\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, problems := Parse("x", content)
		lines := strings.Count(string(content), "\n") + 2
		for _, p := range problems {
			require.NotEmpty(t, p.Message)
			require.True(t, p.Line >= 1 && p.Line <= lines && p.Col >= 1, p.String())
		}
		require.NotEmpty(t, r.Title)
		a := r.Attach("")
		require.LessOrEqual(t, strings.Count(a.QuickReference, "\n"), quickLines-1)
		require.LessOrEqual(t, len([]rune(a.FirstAction)), maxAction)
		for _, c := range a.QuickReference + a.FirstAction + r.Title {
			require.True(t, c >= ' ' || c == '\n', "control character %q", c)
		}
		html, err := r.HTML()
		require.NoError(t, err)
		require.NotContains(t, strings.ToLower(string(html)), "<script")
		for _, p := range Lint("x", content, func(string) bool { return false }, time.Unix(0, 0)) {
			require.True(t, p.Line >= 1 && p.Line <= lines && p.Col >= 1, p.String())
		}
	})
}
