package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/web"
)

func (w *world) Ping(_ context.Context, p web.PingRequest) error {
	body, err := io.ReadAll(p.Body)
	if err != nil {
		return err
	}
	return w.act("%s ping of %s with %q run %q carrying %q", p.Method, p.Key, p.Rest, p.Run, body)
}

func (w *world) Heartbeats(context.Context) ([]web.HeartbeatView, error) { return nil, w.failing() }

func (w *world) Heartbeat(_ context.Context, name string) (web.HeartbeatView, error) {
	return web.HeartbeatView{Name: name, Since: time.Unix(1, 0)}, w.failing()
}

func TestPings(t *testing.T) {
	t.Parallel()
	w := setUp(t)
	for _, path := range []string{"/ping/k", "/ping/k/", "/ping/k/fail", "/ping/k/slug/3?rid=F47AC10B-58CC-4372-A567-0E02B2C3D479"} {
		rec := w.call("nobody", http.MethodPost, path, "out")
		require.Equal(t, http.StatusOK, rec.Code, path)
		require.Equal(t, "OK", rec.Body.String())
		require.Equal(t, "text/plain; charset=utf-8", rec.Header().Get("Content-Type"))
		require.Equal(t, "10000", rec.Header().Get("Ping-Body-Limit"))
	}
	require.Equal(t, []string{
		`POST ping of k with [] run "" carrying "out"`, `POST ping of k with [] run "" carrying "out"`, `POST ping of k with ["fail"] run "" carrying "out"`,
		`POST ping of k with ["slug" "3"] run "f47ac10b-58cc-4372-a567-0e02b2c3d479" carrying "out"`,
	}, w.done())
	require.Equal(t, http.StatusOK, w.call("nobody", http.MethodHead, "/ping/k", "").Code)
	require.Equal(t, http.StatusBadRequest, w.call("nobody", http.MethodGet, "/ping/k?rid=urn:uuid:F47AC10B-58CC-4372-A567-0E02B2C3D479", "").Code)
	for _, x := range []struct {
		err  error
		code int
		body string
	}{
		{watchbill.Errorf(watchbill.CodeNotFound, "h", "m"), http.StatusNotFound, "not found"},
		{watchbill.Invalidf("h", "m"), http.StatusBadRequest, "invalid url format"},
		{errors.New("disk"), http.StatusServiceUnavailable, "try again"},
	} {
		w.fail = x.err
		rec := w.call("nobody", http.MethodGet, "/ping/k", "")
		require.Equal(t, x.code, rec.Code)
		require.Equal(t, x.body, rec.Body.String())
	}
}

// Whatever stands in an address, it is answered and nothing breaks.
func FuzzPing(f *testing.F) {
	for _, s := range []string{"k", "k/fail", "k/slug/255?rid=1", "k//", "%2f/%00", "k?rid=%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w := setUp(t)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://w.test/ping/"+s, strings.NewReader(s))
		if err != nil {
			t.Skip()
		}
		rec := httptest.NewRecorder()
		w.server.Handler().ServeHTTP(rec, req)
		require.Contains(t, []int{200, 301, 307, 400, 404}, rec.Code)
	})
}
