//go:build faults

package daemon_test

import (
	"fmt"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// It takes 45 s, so it is built only for make faults.
//
// The real process, under something that speaks systemd's protocol: it is ready,
// its loops feed the watchdog, and when the timers stop it is fed no more while
// the alarm speaks.
func TestStoppedTimersOfARealProcess(t *testing.T) {
	alarm := &heard{}
	s := newSite(t, "", nil)
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000000")
	states := &heard{}
	go func() {
		b := make([]byte, 1000)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			states.mu.Lock()
			states.all, states.at = append(states.all, string(b[:n])), append(states.at, time.Now())
			states.mu.Unlock()
		}
	}()
	server := httptest.NewServer(alarm)
	defer server.Close()
	text, err := os.ReadFile(s.file())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.file(), fmt.Appendf(text, "\nalarm: {webhook: {url: '%s/x'}}\n", server.URL), 0o600))
	p := start(t, s.bin, "serve", "--config", s.file(), "--debug-stop-timers-after", "2s")
	began := time.Now()
	require.Eventually(t, func() bool { return strings.Contains(alarm.said(), "the loop that fires timers has not gone round") }, time.Minute, 100*time.Millisecond)
	require.Less(t, time.Since(began), time.Minute)
	require.Contains(t, states.said(), "READY=1")
	require.Contains(t, states.said(), "WATCHDOG=1")
	fed := states.times()[len(states.times())-1]
	require.Less(t, fed.Sub(began), 20*time.Second, "fed no more once the timers stand still")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.done
	require.Contains(t, states.said(), "STOPPING=1")
}
