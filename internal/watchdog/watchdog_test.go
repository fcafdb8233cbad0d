package watchdog_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"watchbill/internal/pipenet"
	"watchbill/internal/watchdog"
)

const canary = "canary-51fe"

// got is what a server got, and when.
type got struct {
	after time.Duration
	path  string
	auth  string
	body  string
}

// elsewhere is an HTTP server on another machine.
type elsewhere struct {
	*pipenet.Listener
	began time.Time

	mu   sync.Mutex
	code int
	hang time.Duration
	all  []got
}

func newElsewhere(t *testing.T) *elsewhere {
	e := &elsewhere{Listener: pipenet.Listen(), began: time.Now(), code: http.StatusOK}
	srv := &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(e) // ends with ErrServerClosed
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return e
}

func (e *elsewhere) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	hang, code := e.hang, e.code
	e.all = append(e.all, got{time.Since(e.began).Round(time.Second), r.URL.Path, r.Header.Get("Authorization"), string(body)})
	e.mu.Unlock()
	if hang > 0 {
		select {
		case <-time.After(hang):
		case <-r.Context().Done():
		}
	}
	w.WriteHeader(code)
}

func (e *elsewhere) answer(code int, hang time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.code, e.hang = code, hang
}

func (e *elsewhere) got() []got {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]got(nil), e.all...)
}

func hook() watchdog.AlarmConfig {
	return watchdog.AlarmConfig{
		Webhook: &watchdog.Webhook{URL: watchdog.NewSecret("http://alarm.test/" + canary), Token: watchdog.NewSecret("token-" + canary)},
		Test:    watchdog.DailyTest{Minute: 9 * 60},
	}
}

// bell runs an alarm in a bubble. The returned function ends it.
func bell(t *testing.T, cfg watchdog.AlarmConfig, o watchdog.AlarmOptions) (*watchdog.Alarm, func()) {
	t.Helper()
	a, err := watchdog.NewAlarm(cfg, o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { a.Run(ctx) })
	return a, func() {
		cancel()
		wg.Wait()
	}
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// The first message goes at once, then one a minute at most, with everything
// that came meanwhile; what lasts is repeated each hour, and its end is told.
func TestAlarmGathersAndRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElsewhere(t)
		a, stop := bell(t, hook(), watchdog.AlarmOptions{Name: "https://wb.test", DialContext: e.DialContext})
		defer stop()
		a.Raise("store", "the store\nfails")
		pass(time.Second)
		require.Len(t, e.got(), 1)
		first := e.got()[0]
		require.Equal(t, "/"+canary, first.path)
		require.Equal(t, "Bearer token-"+canary, first.auth)
		require.Equal(t, "watchbill https://wb.test: ALARM: the store fails\n2000-01-01 00:00:00 UTC\n\n- the store fails\n\n"+
			"This comes from watchbill's second notifier, not from an incident.\n", first.body)

		a.Raise("store", "the store fails")
		for n := range 30 {
			a.Say(fmt.Sprintf("thing %d", n))
			a.Say(fmt.Sprintf("thing %d", n))
		}
		pass(58 * time.Second)
		require.Len(t, e.got(), 1)
		pass(time.Second)
		require.Len(t, e.got(), 2)
		require.Contains(t, e.got()[1].body, "- thing 19\n- and 40 more since the last message")
		require.NotContains(t, e.got()[1].body, "thing 20")

		pass(58 * time.Minute)
		require.Len(t, e.got(), 2)
		pass(time.Minute)
		require.Len(t, e.got(), 3)
		require.Contains(t, e.got()[2].body, "- still, since 00:00 UTC: the store fails")
		a.Clear("store")
		a.Clear("store")
		pass(time.Minute)
		require.Len(t, e.got(), 4)
		require.Contains(t, e.got()[3].body, "over after 1h0m0s: the store fails")
		pass(3 * time.Hour)
		require.Len(t, e.got(), 4)
	})
}

// What nobody took is kept and sent again, and the failure is told with it. No
// secret is in any error or log line.
func TestAlarmKeepsWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElsewhere(t)
		var logs strings.Builder
		reg := prometheus.NewRegistry()
		a, stop := bell(t, hook(), watchdog.AlarmOptions{Logger: logger(&logs), Registerer: reg, DialContext: e.DialContext})
		e.answer(http.StatusForbidden, 0)
		a.Raise("a", "first")
		pass(30 * time.Second)
		a.Raise("b", "second")
		pass(31 * time.Second)
		require.Len(t, e.got(), 2)
		e.answer(http.StatusOK, 11*time.Second) // slower than the alarm waits
		pass(time.Minute)
		require.Len(t, e.got(), 3)
		e.answer(http.StatusOK, 0)
		pass(time.Minute)
		require.Len(t, e.got(), 4)
		require.Contains(t, e.got()[3].body, "- first\n- second\n- a channel of the alarm failed: webhook: ")
		pass(10 * time.Minute)
		require.Len(t, e.got(), 4)
		stop()
		require.NotContains(t, logs.String(), canary)
		require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP watchbill_alarm_messages_total Messages of the second notifier, by channel and by how they ended.
# TYPE watchbill_alarm_messages_total counter
watchbill_alarm_messages_total{channel="smtp",result="failed"} 0
watchbill_alarm_messages_total{channel="smtp",result="sent"} 0
watchbill_alarm_messages_total{channel="webhook",result="failed"} 3
watchbill_alarm_messages_total{channel="webhook",result="sent"} 1
`), "watchbill_alarm_messages_total"))
	})
}

// The last words of a process are sent, but not by each of a row of processes
// that die at once.
func TestFarewell(t *testing.T) {
	state := filepath.Join(t.TempDir(), "alarm.json")
	synctest.Test(t, func(t *testing.T) {
		e := newElsewhere(t)
		for range 90 { // three minutes
			a, stop := bell(t, hook(), watchdog.AlarmOptions{State: state, DialContext: e.DialContext})
			a.Raise("store", "the disk fails")
			stop()
			pass(2 * time.Second)
		}
		// Whether a process sends its message before it dies, or as its last words, is
		// a race; a minute has one of each at most.
		require.Contains(t, []int{3, 4, 5, 6}, len(times(e.got())), "one or two a minute: %v", times(e.got()))
	})
}

func TestDailyTestWantsAConfirmation(t *testing.T) {
	state := filepath.Join(t.TempDir(), "alarm.json")
	synctest.Test(t, func(t *testing.T) {
		e := newElsewhere(t)
		reg := prometheus.NewRegistry()
		a, stop := bell(t, hook(), watchdog.AlarmOptions{State: state, Registerer: reg, DialContext: e.DialContext})
		pass(9*time.Hour + time.Second)
		require.Len(t, e.got(), 1)
		require.Equal(t, 9*time.Hour, e.got()[0].after)
		require.Contains(t, e.got()[0].body, "this is the daily test; confirm that it arrived with: watchbill alarm confirm")
		pass(48 * time.Hour)
		require.Len(t, e.got(), 3)
		require.NotContains(t, e.got()[1].body, "NOBODY")
		require.Contains(t, e.got()[2].body, "NOBODY CONFIRMED a test since 2000-01-01 00:00 UTC")
		require.NoError(t, a.Confirm("ana"))
		pass(24 * time.Hour)
		require.NotContains(t, e.got()[3].body, "NOBODY")
		stop()

		// A restart forgets nothing.
		pass(48 * time.Hour)
		_, stop = bell(t, hook(), watchdog.AlarmOptions{State: state, DialContext: e.DialContext})
		pass(24 * time.Hour)
		require.Contains(t, e.got()[len(e.got())-1].body, "NOBODY CONFIRMED a test since 2000-01-03")
		stop()

		// A file that is not its own is replaced.
		require.NoError(t, os.WriteFile(state, []byte("{"), 0o600))
		_, stop = bell(t, hook(), watchdog.AlarmOptions{State: state, DialContext: e.DialContext})
		stop()
		b, err := os.ReadFile(state)
		require.NoError(t, err)
		require.True(t, json.Valid(b))
	})
}

func TestAskedTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElsewhere(t)
		a, stop := bell(t, hook(), watchdog.AlarmOptions{DialContext: e.DialContext})
		defer stop()
		require.NoError(t, a.Test(t.Context()))
		require.NoError(t, a.Test(t.Context()))
		require.Len(t, e.got(), 2)
		e.answer(http.StatusInternalServerError, 0)
		err := a.Test(t.Context())
		require.ErrorContains(t, err, "alarm.test answered 500")
		require.NotContains(t, err.Error(), canary)
		a.Reload(watchdog.AlarmConfig{})
		require.ErrorContains(t, a.Test(t.Context()), "no way to tell anybody")
	})
}

func TestJSONForChats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElsewhere(t)
		cfg := hook()
		cfg.Webhook.JSON = true
		a, stop := bell(t, cfg, watchdog.AlarmOptions{DialContext: e.DialContext})
		defer stop()
		a.Say("it is <gone> & \"lost\"")
		pass(time.Second)
		var body struct{ Text string }
		require.NoError(t, json.Unmarshal([]byte(e.got()[0].body), &body))
		require.Contains(t, body.Text, `it is <gone> & "lost"`)
	})
}

// postbox is a mail server that speaks just enough.
func postbox(t *testing.T, l net.Listener, mails chan<- string) {
	conn, err := l.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(s string) { _, _ = io.WriteString(conn, s+"\r\n") }
	say("220 mail.test")
	var all strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		all.WriteString(line)
		switch strings.ToUpper(line[:4]) {
		case "EHLO":
			say("250-mail.test\r\n250 AUTH PLAIN")
		case "DATA":
			say("354 go on")
			for line != ".\r\n" {
				if line, err = r.ReadString('\n'); err != nil {
					return
				}
				all.WriteString(line)
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			mails <- all.String()
			return
		default:
			say("250 ok")
		}
	}
}

func TestMail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipenet.Listen()
		defer l.Close()
		mails := make(chan string, 1)
		go postbox(t, l, mails)
		cfg := watchdog.AlarmConfig{SMTP: &watchdog.SMTP{Host: "mail.test:25", From: "w@wb.test", To: []string{"a@x.test", "b@x.test"}}}
		a, stop := bell(t, cfg, watchdog.AlarmOptions{Name: "wb", DialContext: l.DialContext})
		defer stop()
		a.Say("größer\r\nBcc: evil@x.test")
		mail := <-mails
		require.Contains(t, mail, "MAIL FROM:<w@wb.test>\r\nRCPT TO:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n")
		require.Contains(t, mail, "To: a@x.test, b@x.test\r\nSubject: =?utf-8?q?")
		require.NotContains(t, mail, "\r\nBcc:")
		require.Contains(t, mail, "- gr=C3=B6=C3=9Fer Bcc: evil@x.test\r\n")
	})
}

// A mail server that says nothing costs no more than its time, and a password is
// not told to one that speaks in the clear.
func TestMailFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipenet.Listen()
		defer l.Close()
		mails := make(chan string, 1)
		cfg := watchdog.AlarmConfig{SMTP: &watchdog.SMTP{
			Host: "mail.test:25", From: "w@wb.test", To: []string{"a@x.test"}, Username: "u", Password: watchdog.NewSecret(canary),
		}}
		a, stop := bell(t, cfg, watchdog.AlarmOptions{DialContext: l.DialContext})
		defer stop()
		go func() {
			conn, err := l.Accept()
			if err == nil {
				defer conn.Close()
				time.Sleep(time.Minute)
			}
		}()
		begun := time.Now()
		require.ErrorContains(t, a.Test(t.Context()), "smtp: ")
		require.Equal(t, 10*time.Second, time.Since(begun))
		go postbox(t, l, mails)
		err := a.Test(t.Context())
		require.Error(t, err)
		require.NotContains(t, err.Error(), canary)
		require.NotContains(t, <-mails, "AUTH PLAIN ")
		pass(time.Minute)
	})
}

// The auditor tells what it sees in two rounds, takes it back, and never passes
// on old news.
func TestAuditor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newElsewhere(t)
		alarm, stop := bell(t, hook(), watchdog.AlarmOptions{DialContext: e.DialContext})
		defer stop()
		var mu sync.Mutex
		var found []watchdog.Finding
		var fail error
		set := func(err error, f ...watchdog.Finding) {
			mu.Lock()
			defer mu.Unlock()
			found, fail = f, err
		}
		slow := time.Duration(0)
		a, err := watchdog.NewAuditor(watchdog.AuditorOptions{Alarm: alarm, Look: func(ctx context.Context, _ time.Time) ([]watchdog.Finding, error) {
			mu.Lock()
			defer mu.Unlock()
			time.Sleep(slow)
			return found, fail
		}})
		require.NoError(t, err)
		require.ErrorContains(t, a.Passed(time.Now()), "has not looked yet")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go a.Run(ctx)
		pass(time.Second)
		require.NoError(t, a.Passed(time.Now()))

		set(nil, watchdog.Finding{Key: "x", Text: "a timer is late"}, watchdog.Finding{Key: "disk", Text: "the disk is full", Aside: true})
		pass(10 * time.Second)
		require.ErrorContains(t, a.Passed(time.Now()), "a timer is late")
		require.NotContains(t, a.Passed(time.Now()).Error(), "disk")
		require.Empty(t, e.got(), "once is not enough")
		pass(10 * time.Second)
		require.Len(t, e.got(), 1)
		require.Contains(t, e.got()[0].body, "a timer is late")

		set(nil)
		pass(time.Minute + time.Second)
		require.NoError(t, a.Passed(time.Now()))
		require.Contains(t, e.got()[len(e.got())-1].body, "over after")

		set(errors.New("no such table"))
		pass(20 * time.Second)
		require.ErrorContains(t, a.Passed(time.Now()), "cannot look at the store: no such table")
		set(nil)
		pass(10 * time.Second)
		cancel()
		pass(31 * time.Second)
		require.ErrorContains(t, a.Passed(time.Now()), "last looked")
	})
}

// monitors run a dead man's switch in a bubble.
func monitors(t *testing.T, test func(context.Context) error, pings ...watchdog.Ping) (*elsewhere, *watchdog.Deadman, *elsewhere) {
	e, alarms := newElsewhere(t), newElsewhere(t)
	alarm, stop := bell(t, hook(), watchdog.AlarmOptions{DialContext: alarms.DialContext})
	d, err := watchdog.NewDeadman(pings, watchdog.DeadmanOptions{
		SelfTest: test, Passed: func(time.Time) error { return nil }, Alarm: alarm, Version: "v1", DialContext: e.DialContext,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { d.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		stop()
	})
	return e, d, alarms
}

func to(path string) watchdog.Ping {
	return watchdog.Ping{URL: watchdog.NewSecret("http://hc.test/" + path), Interval: time.Minute, Timeout: 10 * time.Second}
}

func paths(all []got) (out []string) {
	for _, g := range all {
		out = append(out, g.after.String()+" "+g.path)
	}
	return out
}

func times(all []got) (out []string) {
	for _, g := range all {
		out = append(out, g.after.String())
	}
	return out
}

// Pings follow self-tests that passed, and stop at once when one fails.
func TestPingsFollowTheSelfTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var fail error
		tests := 0
		fails := to("two")
		fails.Fail = true
		e, d, alarms := monitors(t, func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			tests++
			return fail
		}, to("one"), fails)
		pass(2 * time.Minute)
		require.ElementsMatch(t, []string{"5s /one", "5s /two", "1m5s /one", "1m5s /two"}, paths(e.got()))
		require.Equal(t, 2, tests, "one test serves both")
		require.Contains(t, e.got()[0].body, "watchbill v1")
		mu.Lock()
		fail = errors.New("the page did not arrive")
		mu.Unlock()
		pass(2 * time.Minute)
		require.ElementsMatch(t, []string{"2m5s /two/fail", "3m5s /two/fail"}, paths(e.got()[4:]))
		require.Len(t, alarms.got(), 1)
		require.Contains(t, alarms.got()[0].body, "the page did not arrive")
		mu.Lock()
		fail = nil
		mu.Unlock()
		d.Reload([]watchdog.Ping{to("three")})
		pass(10 * time.Second)
		require.Equal(t, "/three", e.got()[len(e.got())-1].path)
	})
}

// A self-test that hangs is over after half a minute, and one monitor that hangs
// delays no other.
func TestHangingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, alarms := monitors(t, func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}, to("one"))
		pass(36 * time.Second)
		require.Len(t, alarms.got(), 1)
		require.Contains(t, alarms.got()[0].body, "it took longer than 30s")
	})
	synctest.Test(t, func(t *testing.T) {
		e, _, alarms := monitors(t, func(context.Context) error { return nil }, to("one"))
		e.answer(http.StatusOK, time.Hour)
		pass(28 * time.Second)
		require.Equal(t, []string{"5s /one", "17s /one"}, paths(e.got()), "two attempts of ten seconds")
		require.Len(t, alarms.got(), 1)
		require.Contains(t, alarms.got()[0].body, "dead man's switch 0 cannot be pinged")
		require.NotContains(t, alarms.got()[0].body, "/one")
		e.answer(http.StatusOK, 0)
		pass(time.Minute)
		require.Contains(t, alarms.got()[1].body, "over after")
	})
}

// Without monitors the way is tested all the same.
func TestSelfTestWithoutMonitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tests := 0
		monitors(t, func(context.Context) error { tests++; return nil })
		pass(10*time.Minute + time.Second)
		require.Equal(t, 10, tests)
	})
}

func TestPulseFeedsOnlyWhileAllBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fed := []time.Duration{}
		began := time.Now()
		p := watchdog.NewPulse(40*time.Second, func() { fed = append(fed, time.Since(began)) }, "timers", "pages")
		p.Beat("timers")
		require.Empty(t, fed, "the pages have not begun")
		for range 6 {
			p.Beat("pages")
			p.Beat("timers")
			time.Sleep(5 * time.Second)
		}
		require.Equal(t, []time.Duration{0, 10 * time.Second, 20 * time.Second}, fed)
		for range 20 { // the timers have stopped
			p.Beat("pages")
			time.Sleep(5 * time.Second)
		}
		require.Equal(t, 40*time.Second, fed[len(fed)-1], "half of the interval after their last beat")
		now := time.Now()
		require.Equal(t, 105*time.Second, p.Age("timers", now, began))
		require.Equal(t, 5*time.Second, p.Age("pages", now, began))
		require.Equal(t, time.Minute, p.Age("pages", now.Add(time.Minute), now), "before since does not count")
	})
}
