package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/internal/pipenet"
)

// shelf is an outbox in memory, with the semantics that Outbox asks for.
type shelf struct {
	mu         sync.Mutex
	rows       []*shelfRow
	claims     []Claim
	unneeded   map[watchbill.IncidentID]string
	failFinish int       // so many calls fail
	claimsFrom time.Time // claims fail before
	outcomes   []watchbill.Outcome
	nextID     int64
}

type shelfRow struct {
	d     watchbill.Delivery
	due   time.Time
	lease time.Time
	done  bool
}

func newShelf() *shelf { return &shelf{unneeded: map[watchbill.IncidentID]string{}} }

// put adds a page of an incident that is due after a delay.
func (s *shelf) put(id watchbill.IncidentID, method string, severity watchbill.Severity, after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := samplePage()
	p.Incident, p.Method, p.Due = id, method, time.Now().Add(after)
	p.Content.Severity, p.Content.Incident = severity, id
	s.nextID++
	s.rows = append(s.rows, &shelfRow{d: watchbill.Delivery{ID: s.nextID, Page: p}, due: p.Due})
}

func (s *shelf) selected(q Queue, r *shelfRow) bool {
	if r.done {
		return false
	}
	if q.Method == "" {
		return !slices.Contains(q.Except, r.d.Page.Method)
	}
	return r.d.Page.Method == q.Method
}

func (s *shelf) Claim(_ context.Context, c Claim) ([]watchbill.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Now.Before(s.claimsFrom) {
		return nil, errors.New("disk is full")
	}
	var due []*shelfRow
	for _, r := range s.rows {
		if s.selected(c.Queue, r) && !r.due.After(c.Now) && !r.lease.After(c.Now) {
			due = append(due, r)
		}
	}
	slices.SortStableFunc(due, func(a, b *shelfRow) int {
		return cmp.Or(cmp.Compare(a.d.Page.Content.Severity, b.d.Page.Content.Severity), a.due.Compare(b.due))
	})
	var out []watchbill.Delivery
	for _, r := range due[:min(len(due), c.Limit)] {
		r.d.Attempt++
		r.lease = c.Now.Add(c.Lease)
		out = append(out, r.d)
	}
	if len(out) > 0 {
		s.claims = append(s.claims, c)
	}
	return out, nil
}

func (s *shelf) Needed(_ context.Context, d watchbill.Delivery) (bool, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	why, ok := s.unneeded[d.Page.Incident]
	return !ok, why, nil
}

func (s *shelf) Finish(_ context.Context, o watchbill.Outcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failFinish > 0 {
		s.failFinish--
		return errors.New("disk is full")
	}
	s.outcomes = append(s.outcomes, o)
	for _, r := range s.rows {
		if r.d.ID == o.Delivery.ID {
			r.lease, r.due, r.done = time.Time{}, o.Retry, o.Retry.IsZero()
		}
	}
	return nil
}

func (s *shelf) NextDue(_ context.Context, q Queue) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var next time.Time
	for _, r := range s.rows {
		if at := r.due; s.selected(q, r) {
			if r.lease.After(at) {
				at = r.lease
			}
			if next.IsZero() || at.Before(next) {
				next = at
			}
		}
	}
	return next, nil
}

func (s *shelf) acknowledge(id watchbill.IncidentID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unneeded[id] = "ana acknowledged INC-" + fmt.Sprint(int64(id))
}

func (s *shelf) finished() []watchbill.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.outcomes)
}

// hosts are HTTP servers reached through pipes, because a real listener would
// stop a bubble's clock.
type hosts struct {
	start time.Time
	ln    *pipenet.Listener
	srv   *http.Server
	mu    sync.Mutex
	hits  []hit
}

// hit is a request: seconds since the bubble began, host, page key, attempt.
type hit struct {
	At      time.Duration
	Host    string
	Key     string
	Attempt string
}

// newHosts serves every host name; answer says what nth request to a host gets.
func newHosts(t *testing.T, answer func(host string, n int, r *http.Request) int) *hosts {
	t.Helper()
	h := &hosts{start: time.Now(), ln: pipenet.Listen()}
	h.srv = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			GroupKey string
			Alerts   []struct{ Labels map[string]string }
		}
		_ = json.NewDecoder(r.Body).Decode(&body)
		h.mu.Lock()
		n := 1
		for _, earlier := range h.hits {
			if earlier.Host == r.Host {
				n++
			}
		}
		h.hits = append(h.hits, hit{time.Since(h.start), r.Host, body.GroupKey, body.Alerts[0].Labels["attempt"]})
		h.mu.Unlock()
		w.WriteHeader(answer(r.Host, n, r))
	})}
	go func() { _ = h.srv.Serve(h.ln) }()
	return h
}

func (h *hosts) stop() { _ = h.srv.Close() }

func (h *hosts) got(host string) []hit {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []hit
	for _, x := range h.hits {
		if host == "" || x.Host == host {
			out = append(out, x)
		}
	}
	return out
}

func (h *hosts) times(host string) []time.Duration {
	var out []time.Duration
	for _, x := range h.got(host) {
		out = append(out, x.At)
	}
	return out
}

// notifier has a webhook receiver for each host, under the host's name.
func (h *hosts) notifier(t *testing.T, names ...string) *Notifier {
	t.Helper()
	var yaml strings.Builder
	yaml.WriteString("receivers:")
	for _, name := range names {
		yaml.WriteString("\n- name: " + name + "\n  webhook_configs: [{url: 'http://" + name + "/page'}]")
	}
	return newNotifier(t, Config{Receivers: load(t, yaml.String()).Receivers}, Options{DialContext: h.ln.DialContext})
}

// run starts a worker and returns it with what stops it.
func run(t *testing.T, s *shelf, n *Notifier, reg prometheus.Registerer) (*Worker, func()) {
	t.Helper()
	w := NewWorker(WorkerOptions{Outbox: s, Notifier: n, Registerer: reg})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return w, func() {
		cancel()
		require.NoError(t, <-done)
	}
}

func ok(string, int, *http.Request) int { return http.StatusOK }

func TestPagesGoOutWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s, reg := newHosts(t, ok), newShelf(), prometheus.NewRegistry()
		defer h.stop()
		s.put(1, "a", watchbill.Sev2, 0)
		s.put(2, "a", watchbill.Sev2, 90*time.Second)
		s.put(3, "b", watchbill.Sev2, 12*time.Second+345*time.Millisecond)
		w, stop := run(t, s, h.notifier(t, "a", "b"), reg)
		defer stop()

		time.Sleep(40 * time.Second)
		s.put(4, "b", watchbill.Sev2, 0)
		w.Wake() // as the daemon does after a commit
		time.Sleep(10 * time.Minute)

		require.Equal(t, []time.Duration{0, 90 * time.Second}, h.times("a"))
		require.Equal(t, []time.Duration{12*time.Second + 345*time.Millisecond, 40 * time.Second}, h.times("b"))
		for _, o := range s.finished() {
			require.Equal(t, watchbill.ResultDelivered, o.Result)
			require.Zero(t, o.Retry)
			require.Equal(t, 1, o.Delivery.Attempt)
		}
		require.InEpsilon(t, 2, testutil.ToFloat64(w.attempts.WithLabelValues("a", "delivered")), 0)
		require.Equal(t, 1, testutil.CollectAndCount(w.lateness))
	})
}

func TestHighestSeverityGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, func(string, int, *http.Request) int { time.Sleep(time.Second); return 200 }), newShelf()
		defer h.stop()
		for i := range parallelAtStart {
			s.put(watchbill.IncidentID(300+i), "a", watchbill.Sev3, -time.Hour)
			s.put(watchbill.IncidentID(100+i), "a", watchbill.Sev1, 0)
		}
		for i := range parallelAtStart / 2 {
			s.put(watchbill.IncidentID(200+i), "a", watchbill.Sev2, -time.Second)
			s.put(watchbill.IncidentID(250+i), "a", watchbill.Sev2, -time.Minute)
		}
		_, stop := run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(time.Minute)
		// As many as go out together have the same severity: sev1 first, then sev2,
		// then what has waited longest and matters least.
		var order []string
		for _, x := range h.got("a") {
			order = append(order, fmt.Sprint(x.At, " ", x.Key[:len("INC-1")]))
		}
		want := slices.Repeat([]string{"0s INC-1"}, parallelAtStart)
		want = append(want, slices.Repeat([]string{"1s INC-2"}, parallelAtStart)...)
		want = append(want, slices.Repeat([]string{"2s INC-3"}, parallelAtStart)...)
		require.Equal(t, want, order)
	})
}

func TestHangingReceiverDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, func(host string, _ int, r *http.Request) int {
			if host == "hangs" {
				<-r.Context().Done()
			}
			return 200
		}), newShelf()
		defer h.stop()
		for i := range 3 * parallelAtStart {
			s.put(watchbill.IncidentID(i+1), "hangs", watchbill.Sev1, 0)
		}
		for i := range 5 {
			s.put(watchbill.IncidentID(100+i), "fine", watchbill.Sev2, time.Duration(i)*7*time.Second)
		}
		w, stop := run(t, s, h.notifier(t, "hangs", "fine"), nil)
		defer stop()
		time.Sleep(time.Minute)
		require.Equal(t, []time.Duration{0, 7 * time.Second, 14 * time.Second, 21 * time.Second, 28 * time.Second}, h.times("fine"))
		// A few sends at a time, each for as long as it may take, none beyond its
		// lease: no attempt is made twice. Then, as it fails, one at a time.
		require.Equal(t, slices.Concat(slices.Repeat([]time.Duration{0}, parallelAtStart), slices.Repeat([]time.Duration{10 * time.Second}, parallelAtStart),
			[]time.Duration{20 * time.Second, 30 * time.Second, 40 * time.Second}), h.times("hangs")[:2*parallelAtStart+3])
		require.InEpsilon(t, 1, testutil.ToFloat64(w.circuits.WithLabelValues("hangs")), 0)
		require.Zero(t, testutil.ToFloat64(w.circuits.WithLabelValues("fine")))
		for _, o := range s.finished() {
			if o.Delivery.Page.Method == "hangs" {
				require.Equal(t, watchbill.ResultRetry, o.Result)
				require.Contains(t, o.Detail, "no answer within 10s")
			}
		}
		for _, c := range s.claims {
			require.LessOrEqual(t, time.Duration(max(c.Limit/parallelAtStart, 1))*10*time.Second, c.Lease-leaseMargin)
		}
	})
}

func TestOutageIsRetriedEverMoreSlowlyAndDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		up := time.Now().Add(6 * time.Hour)
		h, s := newHosts(t, func(string, int, *http.Request) int {
			if time.Now().Before(up) {
				return 503
			}
			return 200
		}), newShelf()
		defer h.stop()
		s.put(1, "a", watchbill.Sev1, 0)
		w, stop := run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(24 * time.Hour)

		times := h.times("a")
		require.Equal(t, []time.Duration{
			0, 2 * time.Second, 7 * time.Second, 22 * time.Second, 52 * time.Second, 112 * time.Second, 232 * time.Second, 532 * time.Second,
		}, times[:8])
		for i := 8; i < len(times); i++ {
			require.Equal(t, 5*time.Minute, times[i]-times[i-1])
		}
		require.LessOrEqual(t, len(times), 80)
		last := times[len(times)-1]
		require.GreaterOrEqual(t, last, 6*time.Hour)
		require.Less(t, last, 6*time.Hour+5*time.Minute)
		outcomes := s.finished()
		require.Len(t, outcomes, len(times))
		for i, o := range outcomes {
			require.Equal(t, i+1, o.Delivery.Attempt)
			require.Equal(t, outcomes[0].Delivery.Page.Key(), o.Delivery.Page.Key())
		}
		require.Equal(t, watchbill.ResultDelivered, outcomes[len(outcomes)-1].Result)
		require.InEpsilon(t, 1, testutil.ToFloat64(w.attempts.WithLabelValues("a", "delivered")), 0)
	})
}

func TestRefusedPageIsTriedAgainSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, func(_ string, n int, _ *http.Request) int {
			if n < 3 {
				return 404
			}
			return 200
		}), newShelf()
		defer h.stop()
		s.put(1, "a", watchbill.Sev1, 0)
		_, stop := run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(time.Hour)
		require.Equal(t, []time.Duration{0, 5 * time.Minute, 10 * time.Minute}, h.times("a"))
		first := s.finished()[0]
		require.Equal(t, watchbill.ResultRefused, first.Result)
		require.Equal(t, "webhook[0]: unexpected status code 404", first.Detail)
		require.Equal(t, first.At.Add(5*time.Minute), first.Retry)
	})
}

func TestAcknowledgementBetweenAttemptsStopsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, func(string, int, *http.Request) int { return 500 }), newShelf()
		defer h.stop()
		s.put(1, "a", watchbill.Sev1, 0)
		s.put(2, "a", watchbill.Sev1, time.Minute)
		w, stop := run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(10 * time.Second)
		s.acknowledge(1)
		s.acknowledge(2)
		time.Sleep(24 * time.Hour)
		require.Equal(t, []time.Duration{0, 2 * time.Second, 7 * time.Second}, h.times("a"))
		outcomes := s.finished()
		require.Len(t, outcomes, 5)
		for i, at := range []time.Duration{22 * time.Second, time.Minute} {
			o := outcomes[3+i]
			require.Equal(t, watchbill.ResultDropped, o.Result)
			require.Contains(t, o.Detail, "ana acknowledged INC-")
			require.Zero(t, o.Retry)
			require.Equal(t, at, o.At.Sub(h.start))
		}
		require.InEpsilon(t, 2, testutil.ToFloat64(w.attempts.WithLabelValues("a", "dropped")), 0)
	})
}

func TestPageOfACrashedWorkerIsSentAgainAfterTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, ok), newShelf()
		defer h.stop()
		n := h.notifier(t, "a")
		s.put(1, "a", watchbill.Sev1, 0)

		// A worker that dies after its send and before its result.
		claimed, err := s.Claim(t.Context(), Claim{Queue: Queue{Method: "a"}, Now: time.Now(), Lease: lease, Limit: 1})
		require.NoError(t, err)
		n.Send(t.Context(), claimed[0])
		time.Sleep(3 * time.Second)

		_, stop := run(t, s, n, nil)
		defer stop()
		time.Sleep(10 * time.Minute)
		hits := h.got("a")
		require.Equal(t, []time.Duration{0, 30 * time.Second}, h.times("a"))
		require.Equal(t, hits[0].Key, hits[1].Key, "the same page has the same key")
		require.Equal(t, "1", hits[0].Attempt)
		require.Equal(t, "2", hits[1].Attempt)
	})
}

func TestResultIsRecordedWhenTheStoreRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, ok), newShelf()
		defer h.stop()
		s.put(1, "a", watchbill.Sev1, 0)
		s.failFinish = 5
		_, stop := run(t, s, h.notifier(t, "a"), nil)
		time.Sleep(time.Minute)
		require.Len(t, h.got("a"), 1)
		require.Len(t, s.finished(), 1)
		require.Equal(t, h.start, s.finished()[0].At)
		stop()

		// Down for longer than the lease: the row comes back, the page does not go
		// out again.
		s.put(2, "a", watchbill.Sev1, 0)
		s.failFinish = 45
		_, stop = run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(5 * time.Minute)
		require.Len(t, h.got("a"), 2)
		outcomes := s.finished()
		require.Len(t, outcomes, 2)
		require.Equal(t, watchbill.ResultDelivered, outcomes[1].Result)
		require.Equal(t, 2, outcomes[1].Delivery.Attempt)
	})
}

func TestStoreThatFailsToClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, ok), newShelf()
		defer h.stop()
		s.put(1, "a", watchbill.Sev1, 0)
		s.claimsFrom = time.Now().Add(2500 * time.Millisecond)
		_, stop := run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(time.Minute)
		require.Equal(t, []time.Duration{3 * time.Second}, h.times("a"))
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, func(host string, _ int, _ *http.Request) int {
			if host == "slow" {
				time.Sleep(4 * time.Second)
			}
			return 200
		}), newShelf()
		defer h.stop()
		for i := range parallelAtStart {
			s.put(watchbill.IncidentID(1+i), "slow", watchbill.Sev1, 0)
		}
		s.put(101, "slow", watchbill.Sev2, 0) // claimed with the others
		for i := range parallelAtStart {
			s.put(watchbill.IncidentID(110+i), "slow", watchbill.Sev3, 0)
		}
		s.put(200, "new", watchbill.Sev2, 0)
		w, stop := run(t, s, h.notifier(t, "slow"), nil)
		defer stop()
		time.Sleep(time.Second)
		// At once refused: "new" is not there yet.
		require.Equal(t, watchbill.ResultRefused, s.finished()[0].Result)
		require.Equal(t, `receiver "new" is not configured`, s.finished()[0].Detail)
		require.InEpsilon(t, 1, testutil.ToFloat64(w.attempts.WithLabelValues("unknown", "refused")), 0)

		w.Reload(h.notifier(t, "new"))
		time.Sleep(10 * time.Minute)

		// The pages in hand were finished; the others were refused so that the daemon
		// uses the next method; the new receiver's page went out when it was due.
		require.Equal(t, slices.Repeat([]time.Duration{0}, parallelAtStart), h.times("slow"))
		require.Equal(t, []time.Duration{5 * time.Minute}, h.times("new"))
		byIncident := map[watchbill.IncidentID][]watchbill.Result{}
		for _, o := range s.finished() {
			id := o.Delivery.Page.Incident
			byIncident[id] = append(byIncident[id], o.Result)
		}
		require.Equal(t, []watchbill.Result{watchbill.ResultDelivered}, byIncident[1])
		require.Equal(t, watchbill.ResultRetry, byIncident[101][0], "given back when its queue closed")
		require.Equal(t, watchbill.ResultRefused, byIncident[101][1])
		require.Equal(t, watchbill.ResultRefused, byIncident[110+parallelAtStart-1][0])
		require.Equal(t, watchbill.ResultDelivered, byIncident[200][1])
	})
}

func TestStoppingFinishesThePageInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, func(string, int, *http.Request) int { time.Sleep(4 * time.Second); return 200 }), newShelf()
		defer h.stop()
		for i := range parallelAtStart {
			s.put(watchbill.IncidentID(1+i), "a", watchbill.Sev1, 0)
		}
		s.put(100, "a", watchbill.Sev2, 0)
		_, stop := run(t, s, h.notifier(t, "a"), nil)
		time.Sleep(time.Second)
		stop()
		require.Equal(t, 4*time.Second, time.Since(h.start))
		outcomes := s.finished()
		require.Len(t, outcomes, parallelAtStart+1)
		last := slices.IndexFunc(outcomes, func(o watchbill.Outcome) bool { return o.Delivery.Page.Incident == 100 })
		require.Equal(t, watchbill.ResultRetry, outcomes[last].Result)
		require.Equal(t, time.Now(), outcomes[last].Retry, "due at once for whoever comes next")
		for _, o := range slices.Delete(outcomes, last, last+1) {
			require.Equal(t, watchbill.ResultDelivered, o.Result)
		}
	})
}

func TestWorkerNoticesRowsThatNobodyAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, s := newHosts(t, ok), newShelf()
		defer h.stop()
		_, stop := run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(time.Second)
		s.put(1, "a", watchbill.Sev1, 0) // another replica's commit
		time.Sleep(time.Minute)
		require.Equal(t, []time.Duration{pollEvery}, h.times("a"))
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	last := time.Duration(0)
	for attempt := range 100 {
		d := retryAfter(attempt)
		require.GreaterOrEqual(t, d, last)
		require.LessOrEqual(t, d, 5*time.Minute)
		last = d
	}
	require.Equal(t, 5*time.Minute, last)
}

// What is in hand at a death is sent again, so a queue begins with a few pages
// at a time and takes more the more deliveries are on record; a receiver that
// fails brings it back.
func TestWidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pages = 1000
		h, s := newHosts(t, func(string, int, *http.Request) int { time.Sleep(time.Second); return 200 }), newShelf()
		defer h.stop()
		for i := range pages {
			s.put(watchbill.IncidentID(1+i), "a", watchbill.Sev2, 0)
		}
		w, stop := run(t, s, h.notifier(t, "a"), nil)
		defer stop()
		time.Sleep(5 * time.Minute)
		at := map[time.Duration]int{}
		for _, sent := range h.times("a") {
			at[sent]++
		}
		require.Equal(t, parallelAtStart, at[0])
		require.Equal(t, parallel, slices.Max(slices.Collect(maps.Values(at))))
		require.Len(t, s.finished(), pages)
		q := &queue{worker: w, method: "a", unrecorded: map[int64]watchbill.Outcome{}, recorded: pages}
		require.Equal(t, parallel, q.width())
		for range circuitOpens {
			q.note(watchbill.ResultRetry)
		}
		require.Equal(t, 1, q.width())
		q.note(watchbill.ResultDelivered)
		require.Equal(t, parallelAtStart, q.width())
	})
}
