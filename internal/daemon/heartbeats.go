package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/common/model"

	"watchbill"
	"watchbill/collector/heartbeat"
	"watchbill/internal/store"
	"watchbill/internal/web"
	"watchbill/router"
)

// heartbeatSource is the source of the alerts of heartbeats.
const heartbeatSource = "heartbeats"

// heartbeatHold is how long an alert of a heartbeat holds without being renewed.
// Its end comes from a ping; this ends it only if watchbill forgets about it.
const heartbeatHold = time.Hour

// heartbeats hears pings and notices their absence. A ping, what it ends or begins,
// and the pages of that are one transaction. The rows of the store say when to look
// again, so a restart forgets nothing.
type heartbeats struct {
	flow  *flow
	set   atomic.Pointer[heartbeatSet]
	kick  chan struct{}
	up    time.Time // since when pings can arrive
	stats heartbeatStats

	excused bool // what went overdue before up was looked at; of the loop alone
}

// heartbeatSet is the heartbeats of one configuration.
type heartbeatSet struct {
	all    heartbeat.Config
	byName map[string]heartbeat.Heartbeat
	byAddr map[heartbeatAddr]heartbeat.Heartbeat
	alerts heartbeat.Config // those that alerts are pings of
}

type heartbeatAddr struct {
	key  [32]byte
	slug string
}

type heartbeatStats struct {
	pings   *prometheus.CounterVec
	unknown prometheus.Counter
	states  *prometheus.GaugeVec
	seen    *prometheus.GaugeVec
}

func newHeartbeats(f *flow, cfg heartbeat.Config, reg prometheus.Registerer) *heartbeats {
	p := promauto.With(reg)
	b := &heartbeats{flow: f, kick: make(chan struct{}, 1), up: time.Now(), stats: heartbeatStats{
		pings:   p.NewCounterVec(prometheus.CounterOpts{Name: "watchbill_heartbeat_pings_total", Help: "Pings of heartbeats that were taken in."}, []string{"kind"}),
		unknown: p.NewCounter(prometheus.CounterOpts{Name: "watchbill_heartbeat_unknown_total", Help: "Requests below /ping with an address that no heartbeat has."}),
		states:  p.NewGaugeVec(prometheus.GaugeOpts{Name: "watchbill_heartbeats", Help: "Heartbeats by state; down, never, unfinished and failed are alerts."}, []string{"state"}),
		seen: p.NewGaugeVec(prometheus.GaugeOpts{
			Name: "watchbill_heartbeat_last_ping_timestamp_seconds", Help: "When the last ping of a heartbeat came; 0: none did.",
		}, []string{"heartbeat"}),
	}}
	for _, k := range []heartbeat.Kind{heartbeat.Success, heartbeat.Fail, heartbeat.Start, heartbeat.Log} {
		b.stats.pings.WithLabelValues(string(k))
	}
	b.reload(cfg)
	return b
}

// reload puts other heartbeats in force.
func (b *heartbeats) reload(cfg heartbeat.Config) {
	s := &heartbeatSet{all: cfg, byName: map[string]heartbeat.Heartbeat{}, byAddr: map[heartbeatAddr]heartbeat.Heartbeat{}}
	for _, h := range cfg {
		s.byName[h.Name] = h
		if h.Key != [32]byte{} {
			s.byAddr[heartbeatAddr{h.Key, h.Slug}] = h
		}
		if len(h.Match) > 0 {
			s.alerts = append(s.alerts, h)
		}
	}
	b.set.Store(s)
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// find returns the heartbeat of an address below /ping, and what the address says.
func (s *heartbeatSet) find(p web.PingRequest) (h heartbeat.Heartbeat, kind heartbeat.Kind, exit int, err error) {
	key := heartbeat.KeyOf(p.Key)
	h, found := s.byAddr[heartbeatAddr{key, ""}]
	rest := p.Rest
	if len(rest) > 0 {
		if slugged, ok := s.byAddr[heartbeatAddr{key, rest[0]}]; ok && rest[0] != "" {
			h, found, rest = slugged, true, rest[1:]
		}
	}
	if !found || len(rest) > 1 {
		return h, "", 0, watchbill.Errorf(watchbill.CodeNotFound, "look at heartbeats: in the configuration", "no heartbeat has this address")
	}
	say := ""
	if len(rest) == 1 {
		say = rest[0]
	}
	kind, exit, ok := heartbeat.ParseKind(say)
	if !ok {
		return h, "", 0, watchbill.Invalidf("use start, fail, log, or an exit status up to 255", "this says nothing")
	}
	return h, kind, exit, nil
}

// Ping takes a ping in.
func (b *heartbeats) Ping(ctx context.Context, p web.PingRequest) error {
	h, kind, exit, err := b.set.Load().find(p)
	if err != nil {
		b.stats.unknown.Inc()
		return err
	}
	body, err := io.ReadAll(io.LimitReader(p.Body, web.MaxPingBody))
	if err != nil {
		return fmt.Errorf("read the body of a ping of %s: %w", h.Name, err)
	}
	ping := heartbeat.Ping{Kind: kind, Exit: exit, Run: p.Run, Via: p.Method, Size: max(p.Size, int64(len(body)))}
	if len(body) == 0 {
		body = nil
		if kind == heartbeat.Success || kind == heartbeat.Fail { // it says nothing: what an older one said is not about it
			body = []byte{}
		}
	}
	return b.hear(ctx, map[string]heartbeat.Ping{h.Name: ping}, body)
}

// hear takes one ping each of some heartbeats in, in one transaction.
func (b *heartbeats) hear(ctx context.Context, pings map[string]heartbeat.Ping, body []byte) error {
	set := b.set.Load()
	err := b.flow.commit(ctx, b.flow.store.UpdateBulk, b.flow.now(), func(w *work) error {
		for name, p := range pings {
			rec, err := record(w, name)
			if err != nil {
				return err
			}
			p.At = w.now
			if err := w.judge(set.byName[name], rec.After(p), body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range pings {
		b.stats.pings.WithLabelValues(string(p.Kind)).Inc()
	}
	// The loop is not woken: it looks every ten seconds, and what a ping begins to
	// wait for is further away.
	return nil
}

// receive takes alerts in from outside. Those that are pings of a heartbeat open no
// incident, and each of them counts, also one that was sent before.
func (b *heartbeats) receive(ctx context.Context, source string, alerts []watchbill.Alert) error {
	set := b.set.Load()
	if len(set.alerts) == 0 {
		return b.flow.Receive(ctx, source, alerts)
	}
	p := newPinged(set)
	var rest []watchbill.Alert
	for _, a := range alerts {
		if !p.by(a) {
			rest = append(rest, a)
		}
	}
	if len(p.pings) > 0 {
		if err := b.hear(ctx, p.pings, nil); err != nil {
			return err
		}
	}
	if len(rest) == 0 && len(alerts) > 0 {
		return nil
	}
	return b.flow.Receive(ctx, source, rest)
}

// pinged gathers the pings among alerts.
type pinged struct {
	set   *heartbeatSet
	now   time.Time
	pings map[string]heartbeat.Ping
}

func newPinged(set *heartbeatSet) pinged {
	return pinged{set: set, now: time.Now(), pings: map[string]heartbeat.Ping{}}
}

// by reports whether an alert is a heartbeat's. One that ended is no ping.
func (p pinged) by(a watchbill.Alert) bool {
	l, found := router.LabelSet(a.Labels), false
	for _, h := range p.set.alerts {
		if !h.Match.Matches(l) {
			continue
		}
		found = true
		if !a.Resolved(p.now) {
			p.pings[h.Name] = heartbeat.Ping{Kind: heartbeat.Success, Via: "alert"}
		}
	}
	return found
}

// record reads what was heard of a heartbeat, which begins to be expected if
// nothing is known of it.
func record(w *work, name string) (r heartbeat.Record, err error) {
	row, found, err := w.tx.HeartbeatRow(name)
	if err != nil || !found {
		return heartbeat.Record{Since: w.now}, err
	}
	return decodeRecord(row)
}

func decodeRecord(row store.HeartbeatRow) (r heartbeat.Record, err error) {
	if err := json.Unmarshal(row.Body, &r); err != nil {
		return r, fmt.Errorf("read heartbeat %s: %w", row.Name, err)
	}
	return r, nil
}

// judge stores what was heard of a heartbeat, and begins or ends its alert. Nil
// evidence keeps what is stored.
func (w *work) judge(h heartbeat.Heartbeat, r heartbeat.Record, evidence []byte) error {
	v := heartbeat.Decide(h, r, w.now)
	raised := r.Raised
	r.Raised, r.Until = nil, time.Time{}
	if v.State.Bad() {
		said := evidence
		if said == nil {
			row, _, err := w.tx.HeartbeatRow(h.Name)
			if err != nil {
				return err
			}
			said = row.Evidence
		}
		a := heartbeat.Alert(h, r, v, said)
		a.EndsAt, a.Source = w.now.Add(heartbeatHold), heartbeatSource
		r.Raised, r.Until = a.Labels, a.EndsAt
		if err := w.receive(arriving(a)); err != nil {
			return err
		}
	}
	// Last, so that an incident which goes on under another alert does not end.
	if len(raised) > 0 && raised.Fingerprint() != r.Raised.Fingerprint() {
		if err := w.unraise(h.Name, raised); err != nil {
			return err
		}
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode heartbeat: %w", err)
	}
	return w.tx.PutHeartbeat(store.HeartbeatRow{Name: h.Name, Body: body, Evidence: evidence})
}

// unraise ends the alert of a heartbeat.
func (w *work) unraise(name string, raised watchbill.Labels) error {
	return w.receive(arriving(watchbill.Alert{
		Labels: raised, Annotations: watchbill.Labels{"summary": name + " is well again"}, EndsAt: w.now, Source: heartbeatSource,
	}))
}

// run notices absence until ctx ends.
func (b *heartbeats) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.kick:
		case <-timer.C:
		}
		next := time.Now().Add(idle)
		look, err := b.round(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			b.flow.logger.ErrorContext(ctx, "cannot look at heartbeats; trying again", "err", err)
			b.flow.stats.timerErrors.Inc()
			next = time.Now().Add(retryStore)
		case !look.IsZero() && look.Before(next):
			next = look
		}
		timer.Reset(max(time.Until(next), 0))
	}
}

// round looks at every heartbeat, and returns when to look again.
func (b *heartbeats) round(ctx context.Context) (next time.Time, err error) {
	b.flow.health.beat(loopHeartbeats)
	set := b.set.Load()
	records, err := b.records(ctx)
	if err != nil {
		return next, err
	}
	now := time.Now()
	counts := map[heartbeat.State]int{}
	b.stats.seen.Reset()
	for _, h := range set.all {
		r, known := records[h.Name]
		delete(records, h.Name)
		look := now
		if known {
			v := heartbeat.Decide(h, r, now)
			counts[v.State]++
			look = nextLook(h, r, v)
		}
		if !known || !look.IsZero() && !look.After(now) || !b.excused && excusable(h, r, b.up) {
			if look, err = b.settle(ctx, h); err != nil {
				return next, err
			}
		}
		if seen := r.Seen(); seen.IsZero() {
			b.stats.seen.WithLabelValues(h.Name).Set(0)
		} else {
			b.stats.seen.WithLabelValues(h.Name).Set(float64(seen.UnixMilli()) / 1000)
		}
		if !look.IsZero() && (next.IsZero() || look.Before(next)) {
			next = look
		}
	}
	for _, s := range heartbeat.States() {
		b.stats.states.WithLabelValues(string(s)).Set(float64(counts[s]))
	}
	for name, r := range records { // no longer configured
		if err := b.forget(ctx, name, r); err != nil {
			return next, err
		}
	}
	b.excused = true
	return next, nil
}

func excusable(h heartbeat.Heartbeat, r heartbeat.Record, up time.Time) bool {
	_, changed := heartbeat.Excuse(h, r, up)
	return changed
}

// nextLook is when there is something to do about a heartbeat if nothing is heard:
// to begin, end or renew its alert, or to see its state change. Zero: never.
func nextLook(h heartbeat.Heartbeat, r heartbeat.Record, v heartbeat.Verdict) time.Time {
	if !v.State.Bad() {
		if len(r.Raised) > 0 {
			return v.Since
		}
		return v.Look
	}
	if r.Raised.Fingerprint() != heartbeat.Alert(h, r, v, nil).Labels.Fingerprint() {
		return v.Since
	}
	return r.Until.Add(-heartbeatHold / 2)
}

// settle decides about a heartbeat and stores what changes, and returns when to
// look at it again.
func (b *heartbeats) settle(ctx context.Context, h heartbeat.Heartbeat) (look time.Time, err error) {
	err = b.flow.update(ctx, func(w *work) error {
		r, err := record(w, h.Name)
		if err != nil {
			return err
		}
		if !b.excused {
			r, _ = heartbeat.Excuse(h, r, b.up)
		}
		v := heartbeat.Decide(h, r, w.now)
		look = v.Look
		if v.State.Bad() {
			look = w.now.Add(heartbeatHold / 2)
		}
		return w.judge(h, r, nil)
	})
	return look, err
}

// forget ends the alert of a heartbeat that is no longer configured.
func (b *heartbeats) forget(ctx context.Context, name string, r heartbeat.Record) error {
	return b.flow.update(ctx, func(w *work) error {
		if len(r.Raised) > 0 {
			if err := w.unraise(name, r.Raised); err != nil {
				return err
			}
		}
		return w.tx.DeleteHeartbeat(name)
	})
}

func (b *heartbeats) records(ctx context.Context) (map[string]heartbeat.Record, error) {
	all := map[string]heartbeat.Record{}
	err := b.flow.store.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.HeartbeatRows()
		if err != nil {
			return err
		}
		for _, row := range rows {
			if all[row.Name], err = decodeRecord(row); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// Heartbeats lists heartbeats, in the order of the configuration.
func (b *heartbeats) Heartbeats(ctx context.Context) ([]web.HeartbeatView, error) {
	records, err := b.records(ctx)
	if err != nil {
		return nil, err
	}
	var all []web.HeartbeatView
	now := time.Now()
	for _, h := range b.set.Load().all {
		if r, ok := records[h.Name]; ok {
			all = append(all, heartbeatView(h, r, now))
		}
	}
	return all, nil
}

// Heartbeat shows a heartbeat with its last pings.
func (b *heartbeats) Heartbeat(ctx context.Context, name string) (v web.HeartbeatView, err error) {
	h, ok := b.set.Load().byName[name]
	if !ok {
		return v, watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill heartbeat list", "there is no heartbeat %q", name)
	}
	err = b.flow.store.View(ctx, func(tx *store.Tx) error {
		row, found, err := tx.HeartbeatRow(name)
		if err != nil {
			return err
		}
		r := heartbeat.Record{Since: time.Now().UTC()}
		if found {
			if r, err = decodeRecord(row); err != nil {
				return err
			}
		}
		v = heartbeatView(h, r, time.Now())
		v.Evidence = string(row.Evidence)
		for _, p := range r.Pings {
			said := web.HeartbeatPing{At: p.At, Kind: string(p.Kind), Exit: p.Exit, Run: p.Run, Via: p.Via, Size: p.Size}
			if p.Took > 0 {
				said.Took = p.Took.Round(time.Millisecond).String()
			}
			v.Pings = append(v.Pings, said)
		}
		return nil
	})
	return v, err
}

func heartbeatView(h heartbeat.Heartbeat, r heartbeat.Record, now time.Time) web.HeartbeatView {
	d := heartbeat.Decide(h, r, now)
	v := web.HeartbeatView{
		Name: h.Name, State: string(d.State), Since: d.Since, Schedule: "every " + model.Duration(h.Period).String(),
		Grace: model.Duration(h.Grace).String(), Due: d.Due, Limit: d.Limit, LastSeen: r.Seen(), LastSuccess: r.Success,
		Configured: r.Since, Labels: h.Labels,
	}
	if h.Cron != nil {
		v.Schedule = h.Cron.String()
	}
	if r.Took > 0 {
		v.Took = r.Took.Round(time.Millisecond).String()
	}
	return v
}
