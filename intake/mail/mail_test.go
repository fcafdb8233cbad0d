package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/golden"
)

// Mails as programs write them, and what is read of them.
func TestMails(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.eml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			m, err := Read(bytes.NewReader(crlf(t, file)))
			require.NoError(t, err)
			golden.Compare(t, strings.TrimSuffix(filepath.Base(file), ".eml")+".golden", fmt.Sprintf(
				"from: %s\nsubject: %s\ndate: %s\nid: %s\nthread: %s\nattachments: %q\nautomatic: %t\n\n%s\n",
				m.From, m.Subject, m.Date, m.ID, m.Thread, m.Attachments, m.Automatic, m.Text))
			e := m.Event()
			require.True(t, e.Case)
			require.NotEmpty(t, e.Dedup)
		})
	}
}

func crlf(t testing.TB, file string) []byte {
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*.eml")
	require.NoError(f, err)
	for _, file := range files {
		f.Add(crlf(f, file))
	}
	f.Add([]byte("Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Read(bytes.NewReader(raw))
		if err != nil {
			var e *watchbill.Error
			require.ErrorAs(t, err, &e)
			require.NotEmpty(t, e.Hint)
			return
		}
		require.LessOrEqual(t, len(m.Text), maxTextBytes)
		for _, s := range append(m.Attachments, m.From, m.Subject) {
			require.LessOrEqual(t, len(s), maxHeader)
			require.NotContains(t, s, "\n")
			require.NotContains(t, s, "\x1b")
		}
		e := m.Event()
		require.LessOrEqual(t, len(e.Dedup), 64)
		require.LessOrEqual(t, len(m.Note()), 16<<10)
	})
}

// taken are the mails that a server took in.
type taken struct {
	mails chan Message
	fail  error
}

func (k *taken) take(_ context.Context, source string, m Message) error {
	if k.fail != nil {
		return k.fail
	}
	m.From = source + " " + m.From
	k.mails <- m
	return nil
}

func serve(t *testing.T, k *taken, networks ...netip.Prefix) (addr string) {
	t.Helper()
	k.mails = make(chan Message, 10)
	s := New(Options{
		Hostname: "watchbill.test", Networks: networks, Take: k.take, Logger: slog.New(slog.DiscardHandler),
		Source: func(a string) (string, bool) { return "clients", a == "support@example.com" || a == "help@example.com" },
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		began := time.Now()
		require.NoError(t, s.Shutdown(context.Background()))
		require.NoError(t, <-done)
		require.Less(t, time.Since(began), 10*time.Second)
	})
	return l.Addr().String()
}

func code(t *testing.T, err error) int {
	t.Helper()
	var e *textproto.Error
	require.ErrorAs(t, err, &e, "%v", err)
	return e.Code
}

func TestServer(t *testing.T) {
	t.Parallel()
	k := &taken{}
	addr := serve(t, k)
	send := func(from, to, text string) error {
		return smtp.SendMail(addr, nil, from, strings.Split(to, ","), []byte(text))
	}
	const text = "From: Eva <eva@client.example>\r\nSubject: No invoices\r\n\r\nSince Monday.\r\n"
	require.NoError(t, send("eva@client.example", "Support@Example.com,help@example.com", text))
	m := <-k.mails
	require.Equal(t, "clients Eva <eva@client.example>", m.From)
	require.Equal(t, "Since Monday.", m.Text)
	require.NotEmpty(t, m.Thread, "without an id too")
	require.Empty(t, k.mails, "two addresses of one source are one case")

	require.Equal(t, 550, code(t, send("eva@client.example", "boss@example.com", text)), "it relays nothing")
	require.NoError(t, send("", "support@example.com", text), "a bounce")
	require.NoError(t, send("eva@client.example", "support@example.com", "Auto-Submitted: auto-replied\r\n"+text))
	require.Equal(t, 552, code(t, send("eva@client.example", "support@example.com", text+strings.Repeat(strings.Repeat("x", 998)+"\r\n", 6<<10))))
	require.Empty(t, k.mails)

	for err, want := range map[error]int{
		errors.New("disk full"): 451, watchbill.Errorf(watchbill.CodeTooMany, "later", "too many"): 451, watchbill.Invalidf("x", "y"): 554,
	} {
		k.fail = err
		require.Equal(t, want, code(t, send("eva@client.example", "support@example.com", text)))
	}

	c, err := smtp.Dial(addr) // one that is open when the server stops
	require.NoError(t, err)
	require.NoError(t, c.Hello("client.example"))
}

func TestOnlyNeighboursMayConnect(t *testing.T) {
	t.Parallel()
	addr := serve(t, &taken{}, netip.MustParsePrefix("10.0.0.0/8"))
	c, err := smtp.Dial(addr)
	require.NoError(t, err)
	require.Equal(t, 554, code(t, c.Hello("client.example")))
}
