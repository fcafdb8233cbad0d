package ical_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/ical"
)

func file(lines ...string) []byte {
	return []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VCALENDAR\r\n")
}

func event(lines ...string) []byte {
	return file("BEGIN:VEVENT\r\nUID:1\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT")
}

func at(day, hour int) time.Time { return time.Date(2026, 12, day, hour, 0, 0, 0, time.UTC) }

// What is written is what RFC 5545 asks for: lines end with CR LF and have at most 75
// bytes, what has a meaning is escaped, times are UTC; and it can be read again.
func TestWhatIsWrittenCanBeRead(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	long := strings.Repeat("añadir; más, \\ y ", 11) + "fin"
	var b bytes.Buffer
	require.NoError(t, ical.Write(&b, "On duty: support", []ical.Event{
		{ID: "a@watchbill", Summary: long, Description: "one\ntwo", From: at(1, 8).In(zone), To: at(1, 16)},
		{ID: "b@watchbill", Summary: "x\r\nDTSTART:19700101T000000Z", From: at(2, 8), To: at(2, 16)},
	}, at(1, 0)))
	text := b.String()
	require.Contains(t, text, "DTSTART:20261201T080000Z\r\n", "in UTC")
	require.Contains(t, text, "DESCRIPTION:one\\ntwo\r\n")
	require.Contains(t, text, "DTSTAMP:20261201T000000Z\r\n")
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\r\n"), "\r\n") {
		require.LessOrEqual(t, len(line), 75, line)
		require.NotContains(t, line, "\n")
		require.NotContains(t, line, "\r")
	}
	all, err := ical.Read(b.Bytes())
	require.NoError(t, err)
	require.Len(t, all, 2)
	require.Equal(t, ical.Event{ID: "a@watchbill", Summary: long, From: at(1, 8), To: at(1, 16)}, all[0])
	require.Equal(t, at(2, 8), all[1].From, "a name cannot begin a line of its own")
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file  []byte
		want  []ical.Event
		fails string
	}{
		"a day":       {file: event("DTSTART;VALUE=DATE:20261224", "SUMMARY:Eve\\, the"), want: []ical.Event{{ID: "1", Summary: "Eve, the", From: at(24, 0), To: at(25, 0), WholeDays: true}}},
		"days":        {file: event("DTSTART;VALUE=DATE:20261224", "DTEND;VALUE=DATE:20261227"), want: []ical.Event{{ID: "1", From: at(24, 0), To: at(27, 0), WholeDays: true}}},
		"in a zone":   {file: event("DTSTART;TZID=Europe/Madrid:20261224T090000", "DURATION:PT8H"), want: []ical.Event{{ID: "1", From: at(24, 8), To: at(24, 16)}}},
		"cancelled":   {file: event("DTSTART:20261224T090000Z", "STATUS:CANCELLED")},
		"no time":     {file: event("DTSTART:20261224T090000Z")},
		"a to-do":     {file: file("BEGIN:VTODO", "UID:1", "END:VTODO")},
		"each year":   {file: event("DTSTART;VALUE=DATE:20261224", "RRULE:FREQ=YEARLY;COUNT=2"), want: []ical.Event{{ID: "1", From: at(24, 0), To: at(25, 0), WholeDays: true}, {ID: "1", From: at(24, 0).AddDate(1, 0, 0), To: at(25, 0).AddDate(1, 0, 0), WholeDays: true}}},
		"until":       {file: event("DTSTART;VALUE=DATE:20261224", "RRULE:FREQ=YEARLY;UNTIL=20270101"), want: []ical.Event{{ID: "1", From: at(24, 0), To: at(25, 0), WholeDays: true}}},
		"each week":   {file: event("DTSTART;VALUE=DATE:20261224", "SUMMARY:Off", "RRULE:FREQ=WEEKLY"), fails: `the event "Off" repeats by "FREQ=WEEKLY"`},
		"but not on":  {file: event("DTSTART;VALUE=DATE:20261224", "RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20271224"), fails: "repeats at times that are listed"},
		"no zone":     {file: event("DTSTART:20261224T090000"), fails: "names no zone"},
		"odd zone":    {file: event("DTSTART;TZID=Mars:20261224T090000"), fails: `there is no zone "Mars"`},
		"no start":    {file: event("SUMMARY:x"), fails: `the event "x" says not when it begins`},
		"odd start":   {file: event("DTSTART:tomorrow", "SUMMARY:x"), fails: `begins at no time`},
		"backwards":   {file: event("DTSTART:20261224T090000Z", "DTEND:20261224T080000Z"), fails: "ends before it begins"},
		"mixed":       {file: event("DTSTART:20261224T090000Z", "DTEND;VALUE=DATE:20261225"), fails: "ends at no time of its kind"},
		"endless":     {file: event("DTSTART:20261224T090000Z", "DURATION:P99999W"), fails: "lasts"},
		"no calendar": {file: []byte("hello"), fails: "it is no calendar"},
		"too large":   {file: bytes.Repeat([]byte("x"), ical.MaxSize+1), fails: "larger than 1024 KB"},
		"too many":    {file: file(strings.Repeat("BEGIN:VEVENT\r\nUID:1\r\nDTSTART;VALUE=DATE:20261224\r\nEND:VEVENT\r\n", ical.MaxEvents+1)), fails: "more than 2000 events"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ical.Read(c.file)
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	zone, err := time.LoadLocation("Europe/Madrid")
	require.NoError(t, err)
	from, to := ical.Event{From: at(24, 0), To: at(25, 0), WholeDays: true}.In(zone)
	require.Equal(t, at(23, 23), from.UTC(), "a day is one of the reader's zone")
	require.Equal(t, at(24, 23), to.UTC())
}

// Nothing that is read breaks the reader, and what it takes can be written.
func FuzzRead(f *testing.F) {
	f.Add(event("DTSTART;VALUE=DATE:20261224", "SUMMARY:Eve", "RRULE:FREQ=YEARLY;COUNT=2"))
	f.Add(event("DTSTART;TZID=Europe/Madrid:20261224T090000", "DURATION:P1DT8H"))
	f.Add(event("DTSTART:20261224T090000Z", "DTEND:20261224T100000Z", "SUMMARY:a\\nb\r\n  c"))
	f.Add([]byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\nX;Y=\"Z:1\nEND:VEVENT\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		all, err := ical.Read(content)
		if err != nil {
			require.Empty(t, all)
			return
		}
		require.LessOrEqual(t, len(all), ical.MaxEvents)
		for _, e := range all {
			require.True(t, e.To.After(e.From))
			require.NotContains(t, e.Summary, "\n")
		}
		require.NoError(t, ical.Write(&bytes.Buffer{}, "x", all, at(1, 0)))
	})
}
