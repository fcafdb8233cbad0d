package heartbeat_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"watchbill"
	"watchbill/collector/heartbeat"
)

func clock(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", "2026-11-24 "+s)
	if err != nil {
		panic(err)
	}
	return t
}

func hourly() heartbeat.Heartbeat {
	return heartbeat.Heartbeat{Name: "job", Period: time.Hour, Grace: 10 * time.Minute, Severity: "page", Labels: map[string]string{"service": "backup"}}
}

// heard builds a record from "15:04:05 kind" lines; the first word of all is when it
// was configured.
func heard(since string, pings ...string) heartbeat.Record {
	r := heartbeat.Record{Since: clock(since)}
	for _, p := range pings {
		at, say, _ := strings.Cut(p, " ")
		kind, exit, ok := heartbeat.ParseKind(say)
		if !ok {
			panic(p)
		}
		r = r.After(heartbeat.Ping{At: clock(at), Kind: kind, Exit: exit})
	}
	return r
}

func TestDecide(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name  string
		r     heartbeat.Record
		at    string
		state heartbeat.State
		since string
		look  string
	}{
		{"new", heard("01:00:00"), "01:59:59", heartbeat.StateNew, "01:00:00", "02:00:00"},
		{"new and due", heard("01:00:00"), "02:00:00", heartbeat.StateLate, "02:00:00", "02:10:00"},
		{"never arrived", heard("01:00:00"), "02:10:00", heartbeat.StateNever, "02:10:00", ""},
		{"up", heard("01:00:00", "01:30:00"), "02:29:59", heartbeat.StateUp, "01:30:00", "02:30:00"},
		{"a log says nothing", heard("01:00:00", "01:30:00", "02:00:00 log"), "02:30:00", heartbeat.StateLate, "02:30:00", "02:40:00"},
		{"late to the last moment", heard("01:00:00", "01:30:00"), "02:39:59", heartbeat.StateLate, "02:30:00", "02:40:00"},
		{"down", heard("01:00:00", "01:30:00"), "02:40:00", heartbeat.StateDown, "02:40:00", ""},
		{"still down", heard("01:00:00", "01:30:00"), "09:00:00", heartbeat.StateDown, "02:40:00", ""},
		{"failed", heard("01:00:00", "01:30:00", "01:40:00 fail"), "01:40:00", heartbeat.StateFailed, "01:40:00", ""},
		{"failed at first", heard("01:00:00", "01:30:00 3"), "01:40:00", heartbeat.StateFailed, "01:30:00", ""},
		{"a start ends no failure", heard("01:00:00", "01:30:00 fail", "01:35:00 start"), "01:36:00", heartbeat.StateFailed, "01:30:00", ""},
		{"well after a failure", heard("01:00:00", "01:30:00 fail", "01:40:00 0"), "01:41:00", heartbeat.StateUp, "01:40:00", "02:40:00"},
		{"started", heard("01:00:00", "01:30:00", "02:00:00 start"), "02:09:59", heartbeat.StateStarted, "02:00:00", "02:10:00"},
		{"unfinished", heard("01:00:00", "01:30:00", "02:00:00 start"), "02:10:00", heartbeat.StateUnfinished, "02:10:00", ""},
		{"started late, in its grace", heard("01:00:00", "01:30:00", "02:35:00 start"), "02:36:00", heartbeat.StateStarted, "02:35:00", "02:40:00"},
		{"a start ends no silence", heard("01:00:00", "01:30:00", "02:45:00 start"), "02:46:00", heartbeat.StateDown, "02:40:00", ""},
		{"never, though it started", heard("01:00:00", "03:00:00 start"), "03:01:00", heartbeat.StateNever, "02:10:00", ""},
		{"finished", heard("01:00:00", "02:00:00 start", "02:05:00"), "02:30:00", heartbeat.StateUp, "02:05:00", "03:05:00"},
	} {
		v := heartbeat.Decide(hourly(), x.r, clock(x.at))
		require.Equal(t, x.state, v.State, x.name)
		require.Equal(t, clock(x.since), v.Since, x.name)
		if x.look == "" {
			require.True(t, v.Look.IsZero(), x.name)
			require.True(t, v.State.Bad(), x.name)
		} else {
			require.Equal(t, clock(x.look), v.Look, x.name)
			require.False(t, v.State.Bad(), x.name)
		}
	}
}

// Between two looks nothing changes, whatever was heard and however often it is
// looked in between; and what is bad stays so until a success.
func TestNothingChangesBetweenLooks(t *testing.T) {
	t.Parallel()
	madrid, err := time.LoadLocation("Europe/Madrid")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		h := hourly()
		h.Grace = time.Duration(rapid.IntRange(1, 7200).Draw(t, "grace")) * time.Second
		if rapid.Bool().Draw(t, "cron") {
			h.Period = 0
			var err error
			h.Cron, err = heartbeat.ParseCron(rapid.SampledFrom([]string{"30 2 * * *", "*/20 * * * *", "0 3 * * 0", "@daily"}).Draw(t, "spec"), madrid)
			require.NoError(t, err)
		}
		now := time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC)
		r := heartbeat.Record{Since: now}
		for range rapid.IntRange(0, 8).Draw(t, "pings") {
			now = now.Add(time.Duration(rapid.IntRange(1, 100_000).Draw(t, "after")) * time.Second)
			kind := rapid.SampledFrom([]heartbeat.Kind{heartbeat.Success, heartbeat.Fail, heartbeat.Start, heartbeat.Log}).Draw(t, "kind")
			r = r.After(heartbeat.Ping{At: now, Kind: kind, Run: rapid.SampledFrom([]string{"", "a"}).Draw(t, "run")})
		}
		if rapid.Bool().Draw(t, "away") {
			r, _ = heartbeat.Excuse(h, r, now)
		}
		v := heartbeat.Decide(h, r, now)
		for range 10 {
			step := now.Add(1000 * time.Hour)
			if !v.Look.IsZero() {
				require.True(t, v.Look.After(now), "look again only in the future")
				step = v.Look
			}
			between := now.Add(time.Duration(rapid.Int64Range(0, int64(step.Sub(now))-1).Draw(t, "between")))
			require.Equal(t, v, heartbeat.Decide(h, r, between))
			if v.State.Bad() {
				return
			}
			now, v = step, heartbeat.Decide(h, r, step)
		}
		require.True(t, v.State.Bad(), "silence does not go unnoticed")
	})
}

// What was overdue when watchbill came back has its grace again, once.
func TestExcuse(t *testing.T) {
	t.Parallel()
	h, r := hourly(), heard("01:00:00", "01:30:00")
	_, changed := heartbeat.Excuse(h, r, clock("02:30:00"))
	require.False(t, changed, "late is not overdue")
	r, changed = heartbeat.Excuse(h, r, clock("05:00:00"))
	require.True(t, changed)
	require.Equal(t, heartbeat.StateLate, heartbeat.Decide(h, r, clock("05:09:59")).State)
	require.Equal(t, heartbeat.StateDown, heartbeat.Decide(h, r, clock("05:10:00")).State)
	_, changed = heartbeat.Excuse(h, r, clock("05:05:00"))
	require.False(t, changed, "a second start puts nothing off")
	r = r.After(heartbeat.Ping{At: clock("05:06:00"), Kind: heartbeat.Success})
	require.Equal(t, heartbeat.StateUp, heartbeat.Decide(h, r, clock("05:10:00")).State)
	require.Equal(t, heartbeat.StateDown, heartbeat.Decide(h, r, clock("06:16:00")).State, "the excuse is over")

	h.Grace = 12 * time.Hour
	r, changed = heartbeat.Excuse(h, heard("01:00:00", "01:30:00"), clock("23:00:00"))
	require.True(t, changed)
	require.Equal(t, heartbeat.StateDown, heartbeat.Decide(h, r, clock("23:10:00")).State, "ten minutes at most")
	r.Raised = watchbill.Labels{"alertname": "HeartbeatDown"}
	r.Excused = time.Time{}
	_, changed = heartbeat.Excuse(h, r, clock("23:00:00"))
	require.False(t, changed, "what is raised stays raised")
}

// The times at which Debian's cron runs a job when the clocks change: once each
// day, every hour on the hour.
func TestCronAcrossClockChanges(t *testing.T) {
	t.Parallel()
	madrid, err := time.LoadLocation("Europe/Madrid")
	require.NoError(t, err)
	apia, err := time.LoadLocation("Pacific/Apia") // left out 30 December 2011 altogether
	require.NoError(t, err)
	next := func(spec string, zone *time.Location, from string, n int) []string {
		c, err := heartbeat.ParseCron(spec, zone)
		require.NoError(t, err)
		at, err := time.Parse(time.RFC3339, from)
		require.NoError(t, err)
		var all []string
		for range n {
			at = c.Next(at)
			all = append(all, at.UTC().Format("02T15:04"))
		}
		return all
	}
	// On 25 October 2026 the hour from 02:00 comes twice, from 00:00 and from 01:00 UTC.
	require.Equal(t, []string{"24T00:30", "25T00:30", "26T01:30"}, next("30 2 * * *", madrid, "2026-10-23T12:00:00Z", 3))
	require.Equal(t, []string{"26T01:30"}, next("30 2 * * *", madrid, "2026-10-25T00:45:00Z", 1), "after the first time")
	require.Equal(t, []string{"26T01:30"}, next("30 2 * * *", madrid, "2026-10-25T01:10:00Z", 1), "between the two")
	require.Equal(t, []string{"25T00:00", "25T01:00", "25T02:00"}, next("0 * * * *", madrid, "2026-10-24T23:30:00Z", 3))
	require.Equal(t, []string{"25T00:40", "25T01:00", "25T01:20"}, next("*/20 * * * *", madrid, "2026-10-25T00:20:00Z", 3))
	// On 29 March 2026 the hour from 02:00 is left out: 01:00 UTC is 03:00.
	require.Equal(t, []string{"28T01:30", "29T01:30", "30T00:30"}, next("30 2 * * *", madrid, "2026-03-27T12:00:00Z", 3))
	require.Equal(t, []string{"29T01:00", "30T01:00"}, next("0 3 * * *", madrid, "2026-03-28T12:00:00Z", 2))
	require.Equal(t, []string{"29T00:00", "29T01:00", "29T02:00"}, next("@hourly", madrid, "2026-03-28T23:30:00Z", 3))
	require.Len(t, next("0 12 * * *", apia, "2011-12-28T00:00:00Z", 4), 4)

	for _, bad := range []string{"", "* * *", "0 3 * * * *", "TZ=UTC 0 3 * * *", "@every 1h", "0 0 30 2 *", "61 * * * *"} {
		_, err := heartbeat.ParseCron(bad, madrid)
		require.Error(t, err, bad)
	}
}

func TestRunsAndTheirTime(t *testing.T) {
	t.Parallel()
	r := heartbeat.Record{Since: clock("01:00:00")}
	for _, p := range []heartbeat.Ping{
		{At: clock("02:00:00"), Kind: heartbeat.Start, Run: "a"},
		{At: clock("02:01:00"), Kind: heartbeat.Success, Run: "b"},
	} {
		r = r.After(p)
	}
	require.Equal(t, clock("02:00:00"), r.Start, "the end of another run is not its own")
	r = r.After(heartbeat.Ping{At: clock("02:04:00"), Kind: heartbeat.Success, Run: "a"})
	require.True(t, r.Start.IsZero())
	require.Equal(t, 4*time.Minute, r.Took)
	require.Equal(t, 4*time.Minute, r.Pings[0].Took)
	for range 30 {
		r = r.After(heartbeat.Ping{At: clock("03:00:00"), Kind: heartbeat.Log})
	}
	require.Len(t, r.Pings, 10)
	require.Equal(t, clock("03:00:00"), r.Seen())
	old := r.After(heartbeat.Ping{At: clock("01:30:00"), Kind: heartbeat.Success})
	require.Equal(t, clock("02:04:00"), old.Success, "an older ping takes nothing back")
}

func TestAlert(t *testing.T) {
	t.Parallel()
	h, r := hourly(), heard("01:00:00", "01:30:00", "01:40:00 3")
	a := heartbeat.Alert(h, r, heartbeat.Decide(h, r, clock("01:40:00")), []byte("one\ntwo\nthree\n\x1b[31mno space left on device\xff\n"))
	require.Equal(t, watchbill.Labels{"alertname": "HeartbeatFailed", "heartbeat": "job", "service": "backup", "severity": "page"}, a.Labels)
	require.Equal(t, "job failed with exit status 3", a.Annotations["summary"])
	require.Equal(t, "two\nthree\n [31mno space left on device", a.Annotations["description"])
	require.Equal(t, clock("01:40:00"), a.StartsAt)
}

func FuzzParseKind(f *testing.F) {
	for _, s := range []string{"", "0", "1", "255", "256", "start", "fail", "log", "-1", "007", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kind, exit, ok := heartbeat.ParseKind(s)
		if !ok {
			require.Empty(t, kind)
			return
		}
		require.Contains(t, []heartbeat.Kind{heartbeat.Success, heartbeat.Fail, heartbeat.Start, heartbeat.Log}, kind)
		require.True(t, exit >= 0 && exit <= 255)
		require.False(t, exit > 0 && kind != heartbeat.Fail)
	})
}
