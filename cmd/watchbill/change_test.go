package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/auth"
	"watchbill/internal/golden"
	"watchbill/internal/pipenet"
	"watchbill/internal/testkit"
	"watchbill/internal/web"
)

// terminals are people at terminals, each with a token, before one daemon in
// virtual time.
type terminals struct {
	t      *testing.T
	world  *testkit.World
	phone  *testkit.Receiver
	dir    string
	client map[string]*web.Client
}

func at(t *testing.T, f func(*terminals)) {
	t.Helper()
	pipenet.Warm(t.Context())
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 11, 29, 3, 15, 0, 0, time.UTC)))
		x := &terminals{t: t, dir: t.TempDir(), phone: &testkit.Receiver{}, client: map[string]*web.Client{}}
		require.NoError(t, os.CopyFS(x.dir, os.DirFS("testdata/changes")))
		x.world = testkit.New(t, x.dir)
		x.world.Host("push.test", x.phone)
		x.world.Start()
		defer x.world.Stop()
		for who := range strings.FieldsSeq("ana ben carla dan eve frank") {
			x.client[who] = x.world.As(watchbill.PersonID(who))
		}
		secret, _, err := x.world.Daemon.CreateToken(t.Context(), auth.Spec{Name: "pipeline", Scopes: []auth.Scope{auth.ScopeRead}})
		require.NoError(t, err)
		x.client["pipeline"] = &web.Client{URL: "http://watchbill.test", Token: secret.Reveal(), HTTP: x.client["ana"].HTTP}
		for who, c := range x.client {
			require.NoError(t, os.WriteFile(filepath.Join(x.dir, who), []byte(c.Token), 0o600))
		}
		f(x)
	})
}

// run is a command line of somebody's, with everything that it prints.
func (x *terminals) run(who string, words ...string) (out string, status int) {
	var b bytes.Buffer
	root := newRoot(process{stdout: &b, stderr: &b, getenv: func(string) string { return "" }, transport: x.client[who].HTTP.Transport})
	root.SetArgs(append([]string{"--url", "http://watchbill.test", "--token-file", filepath.Join(x.dir, who)}, words...))
	root.SetOut(&b)
	root.SetErr(&b)
	status = report(root.ExecuteContext(x.t.Context()), &b)
	return b.String(), status
}

// words splits a command line as a shell does, as far as the documents need it.
func words(line string) (out []string) {
	for _, m := range regexp.MustCompile(`"[^"]*"|\S+`).FindAllString(line, -1) {
		out = append(out, strings.Trim(m, `"`))
	}
	return out
}

var console = regexp.MustCompile("(?s)```console\n(.*?)```")

// docs/changes.md is replayed as it stands: each command of each person, a minute
// after the one before, prints what the document says. With -update it is written
// anew.
func TestTheStoryOfARollback(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/changes.md")
	require.NoError(t, err)
	at(t, func(x *terminals) {
		got := console.ReplaceAllStringFunc(string(text), func(block string) string {
			body := console.FindStringSubmatch(block)[1]
			var b strings.Builder
			b.WriteString("```console\n")
			command := ""
			for line := range strings.Lines(body) {
				if command == "" && !regexp.MustCompile(`^[a-z]+\$ `).MatchString(line) {
					continue // what was printed
				}
				b.WriteString(line)
				command += strings.TrimSuffix(line, "\n")
				if more, ok := strings.CutSuffix(command, `\`); ok {
					command = more
					continue
				}
				who, rest, _ := strings.Cut(command, "$ watchbill ")
				command = ""
				time.Sleep(time.Minute)
				out, _ := x.run(who, words(rest)...)
				b.WriteString(out)
			}
			return b.String() + "```"
		})
		golden.Compare(t, docs+"/changes.md", got)
		require.Contains(t, got, "CHG-1 is done")

		// The manager was paged at once, by all methods, and the chains verify.
		synctest.Wait()
		var pages []string
		for _, p := range x.phone.Pages() {
			if p.Labels["alertname"] == "WatchbillChange" && p.Severity == "sev2" {
				pages = append(pages, p.Path)
			}
		}
		require.Equal(t, []string{"/frank-push", "/frank-phone"}, pages)
	})
}

// request writes a change of checkout in production.
func (x *terminals) request(who, kind string) watchbill.ChangeID {
	x.t.Helper()
	c, err := x.client[who].RequestChange(x.t.Context(), web.ChangeRequest{ChangeContent: watchbill.ChangeContent{
		Kind: watchbill.ChangeKind(kind), Title: "t", Service: "checkout", Environment: "prod", Target: "t", Command: "c", Risk: "r", Rollback: "b", Verification: "v",
	}})
	require.NoError(x.t, err)
	return c.ID
}

func (x *terminals) change(id watchbill.ChangeID) watchbill.Change {
	v, err := x.client["frank"].Change(x.t.Context(), id)
	require.NoError(x.t, err)
	return v.Change
}

// act is an act by one of the two ways in. It returns the refusal, or "".
func (x *terminals) act(way, who, verb string, id watchbill.ChangeID) string {
	hash := x.change(id).Hash
	if way == "api" {
		if _, err := x.client[who].ActOnChange(x.t.Context(), id, web.ChangeAct{Verb: verb, Hash: hash, Text: "why"}); err != nil {
			return err.Error()
		}
		return ""
	}
	line := []string{"change", verb, id.String()}
	switch verb {
	case "approve":
		line = append(line, "--hash", hash)
	case "perform", "witness":
	default:
		line = append(line, "why")
	}
	out, status := x.run(who, line...)
	if status == 0 {
		return ""
	}
	return out
}

// The operating assumptions of the organisation, each of which every role tries to
// break in turn, through the command line and through the API:
//
//  1. All production changes require two people.
//  2. No developer has made a change to a production deployment.
//  3. Documented approvals are required for all changes and deployments.
func TestOperatingAssumptions(t *testing.T) {
	t.Parallel()
	everybody := strings.Fields("ana ben carla dan eve frank")
	acts := strings.Fields("approve perform witness done fail rollback review")
	at(t, func(x *terminals) {
		for _, way := range []string{"cli", "api"} {
			for _, who := range everybody {
				// 1: alone, in any order of acts, nobody gets anywhere.
				if who != "dan" {
					id := x.request(who, "change")
					for range 2 {
						for _, verb := range acts {
							require.NotEmpty(t, x.act(way, who, verb, id), "%s: %s alone by %s", way, verb, who)
						}
					}
					require.Equal(t, watchbill.ChangeRequested, x.change(id).State)
				}
				// 3: without an approval of what it is now, nobody begins.
				id := x.request("carla", "deploy")
				require.Contains(t, x.act(way, who, "perform", id), "(rule: documented approval first)")
				require.Empty(t, x.act(way, "frank", "approve", id))
				content := x.change(id).Content
				content.Command = "something else"
				_, err := x.client["carla"].ActOnChange(t.Context(), id, web.ChangeAct{Verb: "edit", Content: &content})
				require.NoError(t, err)
				require.Contains(t, x.act(way, who, "perform", id), "(rule: an approval is for one content)")
				require.Equal(t, watchbill.ChangeRequested, x.change(id).State)
			}

			// 1 and 3: which pairs make a change, one asking and performing, the other
			// approving and looking on.
			for kind, want := range map[string]string{
				"change": "ben+carla ben+frank carla+ben carla+frank",
				"deploy": "carla+frank", // frank is the only other one who may approve
				"access": "eve+frank",
			} {
				var made []string
				for _, a := range everybody {
					for _, b := range everybody {
						if a == "dan" || b == "dan" {
							continue
						}
						id := x.request(a, kind)
						_ = x.act(way, b, "approve", id)
						_ = x.act(way, a, "perform", id)
						_ = x.act(way, b, "witness", id)
						if x.act(way, a, "done", id) == "" {
							made = append(made, a+"+"+b)
							c := x.change(id)
							require.NotEqual(t, c.Performer, c.Witness)
							require.NotEqual(t, c.Performer, c.Approvals[0].Person)
							require.Equal(t, c.Hash, c.Approvals[0].Hash)
						}
					}
				}
				if kind == "access" { // support is marked for security too
					want = "ana+frank eve+frank"
				}
				require.Equal(t, want, strings.Join(made, " "), "%s %s", way, kind)
			}
			x.noDeveloper(way)
		}
	})
}

// noDeveloper has the developer try every act at every stage (2).
func (x *terminals) noDeveloper(way string) {
	t := x.t
	const never = "(rule: no developer on production)"
	refused := func(id watchbill.ChangeID, verbs string) {
		t.Helper()
		was := x.change(id)
		for verb := range strings.FieldsSeq(verbs) {
			require.Contains(t, x.act(way, "dan", verb, id), never, "%s %s", way, verb)
		}
		for verb := range strings.FieldsSeq("approve reject perform witness done fail rollback break-glass review") {
			require.NotEmpty(t, x.act(way, "dan", verb, id), "%s %s", way, verb)
		}
		require.Equal(t, was, x.change(id))
	}
	_, err := x.client["dan"].RequestChange(t.Context(), web.ChangeRequest{ChangeContent: x.change(x.request("carla", "change")).Content})
	require.ErrorContains(t, err, never)
	out, status := x.run("dan", "change", "request", "--title", "t", "--service", "checkout", "--target", "t", "--command", "c", "--risk", "r", "--rollback", "b", "--verify", "v")
	require.Equal(t, exitDenied, status)
	require.Contains(t, out, never)

	id := x.request("carla", "change")
	content := x.change(id).Content
	content.Command = "mine"
	_, err = x.client["dan"].ActOnChange(t.Context(), id, web.ChangeAct{Verb: "edit", Content: &content})
	require.ErrorContains(t, err, never)
	refused(id, "approve reject break-glass")
	require.Empty(t, x.act(way, "ben", "approve", id))
	refused(id, "approve reject perform break-glass")
	require.Empty(t, x.act(way, "carla", "perform", id))
	refused(id, "witness")
	require.Empty(t, x.act(way, "ben", "witness", id))
	refused(id, "perform witness done fail rollback")
	require.Empty(t, x.act(way, "carla", "fail", id))
	refused(id, "rollback")
	// Not even with a change that was prepared where developers may act.
	_, err = x.client["dan"].RequestChange(t.Context(), web.ChangeRequest{ChangeContent: watchbill.ChangeContent{
		Kind: "change", Title: "t", Service: "checkout", Environment: "preprod", Target: "t", Command: "c", Risk: "r", Rollback: "b", Verification: "v",
	}})
	require.NoError(t, err)
}

// A repetition of a request or an act changes nothing, and of many at once one counts.
func TestChangesAtOnce(t *testing.T) {
	t.Parallel()
	at(t, func(x *terminals) {
		content := x.change(x.request("carla", "change")).Content
		same := web.ChangeRequest{Key: "release-42", ChangeContent: content}
		one, err := x.client["carla"].RequestChange(t.Context(), same)
		require.NoError(t, err)
		again, err := x.client["carla"].RequestChange(t.Context(), same)
		require.NoError(t, err)
		require.Equal(t, one, again)
		_, err = x.client["ben"].RequestChange(t.Context(), same)
		require.ErrorContains(t, err, "was used by carla")

		edited := content
		edited.Command = "something else"
		done := make(chan error)
		for range 8 {
			go func() { done <- approveOnce(x, "ben", one) }()
			go func() { done <- approveOnce(x, "frank", one) }()
		}
		go func() {
			_, err := x.client["carla"].ActOnChange(t.Context(), one.ID, web.ChangeAct{Verb: "edit", Content: &edited})
			done <- err
		}()
		for range 17 {
			<-done
		}
		c := x.change(one.ID)
		require.Equal(t, watchbill.ChangeRequested, c.State, "whatever came first, the edit voided it")
		require.LessOrEqual(t, len(c.Approvals), 2)
		for _, a := range c.Approvals {
			require.NotZero(t, a.Voided)
		}
		for range 8 {
			go func() { done <- approveOnce(x, "ben", c) }()
		}
		for range 8 {
			require.NoError(t, <-done)
		}
		c = x.change(one.ID)
		require.Equal(t, watchbill.ChangeApproved, c.State)
		v, err := x.client["ana"].Change(t.Context(), one.ID)
		require.NoError(t, err)
		require.NoError(t, watchbill.VerifyChain(v.Timeline, c.Head))
	})
}

func approveOnce(x *terminals, who string, c watchbill.Change) error {
	_, err := x.client[who].ActOnChange(x.t.Context(), c.ID, web.ChangeAct{Verb: "approve", Hash: c.Hash})
	return err
}

// The rules are not loosened by one person with an editor.
func TestLooserRulesTakeTwoPeople(t *testing.T) {
	t.Parallel()
	at(t, func(x *terminals) {
		path := filepath.Join(x.dir, "watchbill.yaml")
		original, err := os.ReadFile(path)
		require.NoError(t, err)
		write := func(changes, developer string) {
			text := strings.Replace(string(original), "changes: {not_production: [preprod]}", changes, 1)
			text = strings.Replace(text, "developer: true", developer, 1)
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		}
		frank := x.client["frank"]
		write("changes: {not_production: [preprod], approvals: 2}", "developer: true") // stricter
		require.NoError(t, frank.Reload(t.Context()))
		write("changes: {not_production: [preprod]}", "developer: true") // and back
		err = frank.Reload(t.Context())
		require.ErrorContains(t, err, "approvals from 2 to 1")
		write("changes: {not_production: [preprod, prod], approvals: 2}", "developer: false")
		err = frank.Reload(t.Context())
		require.ErrorContains(t, err, "prod is production no more; dan is a developer no more")
		digest := regexp.MustCompile(`changes sha256:[0-9a-f]{64}`).FindString(err.Error())
		require.NotEmpty(t, digest)

		// A restart is no way around: the old rules stay in force.
		x.world.Stop()
		x.world.Start()
		_, status := x.run("dan", "change", "request", "--title", "t", "--service", "checkout", "--target", "t", "--command", "c", "--risk", "r", "--rollback", "b", "--verify", "v")
		require.Equal(t, exitDenied, status)

		out, status := x.run("carla", "change", "request", "--kind", "configuration", "--title", "Let dan act", "--service", "watchbill", "--target", "watchbill.yaml",
			"--command", digest, "--risk", "one person acts alone", "--rollback", "reload the old file", "--verify", "check says so")
		require.Equal(t, 0, status, out)
		loosened := "changes: {not_production: [preprod, prod], approvals: 2, loosened_by: CHG-1}"
		write(loosened, "developer: false")
		require.ErrorContains(t, frank.Reload(t.Context()), "it needs its performer and witness")
		for _, step := range []string{"ben approve", "frank approve", "carla perform", "ben witness"} {
			who, verb, _ := strings.Cut(step, " ")
			require.Empty(t, x.act("cli", who, verb, 1), step)
		}
		require.NoError(t, frank.Reload(t.Context()))
		require.Empty(t, x.act("cli", "carla", "done", 1))
		x.world.Stop()
		x.world.Start() // and it stays allowed
		require.Equal(t, watchbill.ChangeDone, x.change(1).State)
		_, status = x.run("dan", "change", "request", "--title", "t", "--service", "checkout", "--target", "t", "--command", "c", "--risk", "r", "--rollback", "b", "--verify", "v")
		require.Equal(t, 0, status)
		v, err := x.client["ana"].Change(t.Context(), 1)
		require.NoError(t, err)
		require.Contains(t, fmt.Sprint(v.Timeline), "the rules of changes are looser now: prod is production no more; dan is a developer no more")
		_, err = os.Stat(path)
		require.NoError(t, err)
	})
}

// A change of an incident stands on its timeline and renews its acknowledgement.
func TestChangesOfIncidents(t *testing.T) {
	t.Parallel()
	at(t, func(x *terminals) {
		require.NoError(t, x.client["ana"].PostAlerts(t.Context(), []watchbill.Alert{{Labels: watchbill.Labels{"alertname": "Down", "service": "checkout", "environment": "prod", "severity": "critical"}}}))
		inc, err := x.client["carla"].Acknowledge(t.Context(), 1, "")
		require.NoError(t, err)
		time.Sleep(4 * time.Minute) // the alert ends after five
		out, status := x.run("carla", "change", "request", "--incident", "INC-1", "--title", "Roll back", "--service", "checkout", "--target", "t", "--command", "c", "--risk", "r", "--rollback", "b", "--verify", "v")
		require.Equal(t, 0, status, out)
		v, err := x.client["carla"].Incident(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, inc.AckDeadline.Add(4*time.Minute), v.Incident.AckDeadline)
		last := v.Timeline[len(v.Timeline)-1]
		require.Equal(t, watchbill.EventChange, last.Kind)
		require.Contains(t, last.Text, "CHG-1 requested: Roll back")
		_, err = x.client["carla"].RequestChange(t.Context(), web.ChangeRequest{Incident: "INC-7", ChangeContent: x.change(1).Content})
		require.ErrorContains(t, err, "there is no incident INC-7")
	})
}
