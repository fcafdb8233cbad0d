package pipenet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill/internal/pipenet"
)

func TestServesHTTPInsideABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipenet.Listen()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Hour)
			io.WriteString(w, "late")
		})}
		go srv.Serve(l)
		transport := &http.Transport{DialContext: l.DialContext}
		client := &http.Client{Transport: transport}
		start := time.Now()
		res, err := client.Get("http://anywhere/")
		require.NoError(t, err)
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, "late", string(body))
		require.Equal(t, time.Hour, time.Since(start))
		transport.CloseIdleConnections()
		require.NoError(t, srv.Close())
	})
}

func TestDialEndsWithContextAndClose(t *testing.T) {
	t.Parallel()
	l := pipenet.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.DialContext(ctx, "tcp", "x:1")
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, l.Close())
	require.NoError(t, l.Close())
	_, err = l.DialContext(t.Context(), "tcp", "x:1")
	var op *net.OpError
	require.True(t, errors.As(err, &op))
	require.ErrorIs(t, err, net.ErrClosed)
	_, err = l.Accept()
	require.ErrorIs(t, err, net.ErrClosed)
	require.Equal(t, "pipe", l.Addr().String())
}

func TestWarmLetsTwoBubblesLookNamesUp(t *testing.T) {
	pipenet.Warm(t.Context())
	for range 2 {
		synctest.Test(t, func(t *testing.T) { pipenet.Warm(t.Context()) })
	}
}
