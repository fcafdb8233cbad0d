package targets_test

import (
	"context"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"watchbill"
	"watchbill/targets"
)

// query asks the world as the daemon asks its series.
func (w *world) query(ctx context.Context, expr string, at time.Time) ([]targets.Point, error) {
	q, err := w.engine.NewInstantQuery(ctx, w.db, nil, expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	v, err := q.Exec(ctx).Vector()
	if err != nil {
		return nil, err
	}
	out := make([]targets.Point, len(v))
	for i, s := range v {
		out[i] = targets.Point{Labels: s.Metric.Map(), Value: s.F}
	}
	return out, nil
}

func (w *world) status(cfg targets.Config) watchbill.TargetStatus {
	w.t.Helper()
	all, err := cfg.Statuses(w.t.Context(), w.now, "", "", w.query)
	require.NoError(w.t, err)
	require.Len(w.t, all, 1)
	return all[0]
}

// TestStatusFollowsTheService goes through every state, with the engine.
func TestStatusFollowsTheService(t *testing.T) {
	t.Parallel()
	x := target("99")
	x.Period = 12 * time.Hour
	cfg := targets.Config{Targets: []targets.Target{x}, Windows: []targets.Windows{half()}}
	files, problems := targets.Rules(cfg)
	require.Empty(t, problems)
	w := newWorld(t, files[0])
	s := w.status(cfg)
	require.Equal(t, watchbill.TargetNoData, s.State)
	require.Equal(t, "nothing was ever measured", s.Reason)
	require.True(t, s.Warming)
	require.Nil(t, s.BudgetLeft)

	good, failed := 0.0, 0.0
	play := func(steps int, share float64) {
		for range steps {
			good, failed = good+3000*(1-share), failed+3000*share
			w.scrape(map[string]float64{"200": good, "500": failed})
			w.evaluate()
			w.now = w.now.Add(evaluation)
		}
		w.now = w.now.Add(-evaluation)
		s = w.status(cfg)
		w.now = w.now.Add(evaluation)
	}
	play(40, 0)
	require.Equal(t, watchbill.TargetOK, s.State)
	require.Equal(t, "no alert fires; warming: there is data since 19m of 12h", s.Reason)
	require.Equal(t, 1.0, *s.Good)
	require.Equal(t, 1.0, *s.BudgetLeft)
	require.InDelta(t, 20.0/720, *s.Coverage, 0.002)
	require.Nil(t, s.ExhaustsIn)

	// A burn of 5: 25 of the last 45 minutes are one of 2.8, and 2.4 is too much.
	play(50, 0.05)
	require.Equal(t, watchbill.TargetBurning, s.State)
	require.Regexp(t, "^page_fast, .* fires$", s.Reason)
	require.Contains(t, s.Alerts, watchbill.TargetAlert{Name: "Shop", Tier: "page_fast", Severity: "page", State: "firing"})
	require.Equal(t, "5m", s.Burn[0].Window)
	require.InDelta(t, 5, s.Burn[0].Rate, 0.01)
	// 25 min of 5 % are 0.05*25/(0.01*720) of the budget, and a little less as the
	// last windows are not over.
	spent := 0.05 * 25 / 7.2
	require.InDelta(t, 1-spent, *s.BudgetLeft, 0.03)
	var hour float64
	for _, b := range s.Burn {
		if b.Window == "1h" {
			hour = b.Rate
		}
	}
	require.InDelta(t, *s.BudgetLeft*12*3600/hour, *s.ExhaustsIn, 1)

	play(30, 0.5)
	require.Equal(t, watchbill.TargetExhausted, s.State)
	require.Regexp(t, `^-\d+(\.\d+)?% of the error budget of 12h is left$`, s.Reason)
	require.Less(t, *s.BudgetLeft, 0.0)
	require.Nil(t, s.ExhaustsIn)

	frozen := cfg
	x.Policy = []targets.PolicyStep{{Below: "0.5", Severity: "ticket"}, {Below: "0.25", Severity: "ticket", Freeze: true}}
	frozen.Targets = []targets.Target{x}
	w.now = w.now.Add(-evaluation)
	s = w.status(frozen)
	require.Equal(t, watchbill.TargetFrozen, s.State)
	require.Contains(t, s.Reason, "its policy freezes releases at 25%")

	none, err := cfg.Statuses(t.Context(), w.now, "elsewhere", "", w.query)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = cfg.Statuses(t.Context(), w.now, "", "", func(context.Context, string, time.Time) ([]targets.Point, error) {
		return nil, fmt.Errorf("no engine")
	})
	require.ErrorContains(t, err, "no engine")
}

// TestGateDecides is the table of what closes a gate.
func TestGateDecides(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 2, 30, 0, 0, time.UTC)
	status := func(state watchbill.TargetState, more func(*watchbill.TargetStatus)) targets.GateFacts {
		s := watchbill.TargetStatus{ID: "shop-ok", State: state, Reason: "because", OnNoData: "alert"}
		if more != nil {
			more(&s)
		}
		return targets.GateFacts{Targets: []watchbill.TargetStatus{s}}
	}
	incident := func(service string, severity watchbill.Severity, state watchbill.State) targets.GateFacts {
		f := status(watchbill.TargetOK, nil)
		f.Incidents = []watchbill.Incident{{ID: 7, Service: service, Severity: severity, State: state, Title: "Down"}}
		return f
	}
	work := func(m targets.Maintenance) targets.GateFacts {
		f := status(watchbill.TargetOK, nil)
		m.Name, m.Reason = "patching", "kernel"
		f.Maintenance = []targets.Maintenance{m}
		return f
	}
	running := targets.Maintenance{Start: now.Add(-time.Hour), End: now.Add(time.Hour)}
	of := func(m targets.Maintenance, services, ids []string) targets.Maintenance {
		m.Services, m.Targets = services, ids
		return m
	}
	measured := func(s *watchbill.TargetStatus) { s.Since = 60 }
	for name, c := range map[string]struct {
		facts  targets.GateFacts
		reason string // empty: it is open
		notes  string
	}{
		"all is well":                 {status(watchbill.TargetOK, nil), "", ""},
		"warming":                     {status(watchbill.TargetOK, func(s *watchbill.TargetStatus) { s.Warming = true }), "", "shop-ok: because"},
		"burning":                     {status(watchbill.TargetBurning, nil), "", "shop-ok: because"},
		"exhausted":                   {status(watchbill.TargetExhausted, nil), "budget shop-ok: because", ""},
		"frozen":                      {status(watchbill.TargetFrozen, nil), "freeze shop-ok: because", ""},
		"never measured":              {status(watchbill.TargetNoData, nil), "", "shop-ok: because"},
		"not measured any more":       {status(watchbill.TargetNoData, measured), "no_data shop-ok: because, so that nobody can tell whether a release harms", ""},
		"missing data is no matter":   {status(watchbill.TargetNoData, func(s *watchbill.TargetStatus) { s.Since, s.OnNoData = 60, "ignore" }), "", "shop-ok: because"},
		"no target":                   {targets.GateFacts{}, "", "the service has no target: nothing says how well it must work"},
		"a sev1":                      {incident("shop", watchbill.Sev1, watchbill.StateOpen), "incident INC-7: sev1 is open: Down", ""},
		"a sev2 that was taken":       {incident("shop", watchbill.Sev2, watchbill.StateAcknowledged), "incident INC-7: sev2 is acknowledged: Down", ""},
		"a sev3":                      {incident("shop", watchbill.Sev3, watchbill.StateOpen), "", ""},
		"a sev1 that is resolved":     {incident("shop", watchbill.Sev1, watchbill.StateResolved), "", ""},
		"a sev1 of another service":   {incident("db", watchbill.Sev1, watchbill.StateOpen), "", ""},
		"maintenance":                 {work(running), "maintenance patching: it is worked on: kernel until 2026-11-29T03:30:00Z", ""},
		"maintenance of the service":  {work(of(running, []string{"shop"}, nil)), "maintenance patching: it is worked on: kernel until 2026-11-29T03:30:00Z", ""},
		"maintenance of another":      {work(of(running, []string{"db"}, nil)), "", ""},
		"maintenance of a target":     {work(of(running, nil, []string{"shop-ok"})), "", ""},
		"maintenance that is over":    {work(targets.Maintenance{Start: now.Add(-time.Hour), End: now}), "", ""},
		"maintenance that is to come": {work(targets.Maintenance{Start: now.Add(time.Second), End: now.Add(time.Hour)}), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.facts.Service, c.facts.Now = "shop", now
			g := targets.Gate(c.facts)
			var reasons []string
			for _, r := range g.Reasons {
				reasons = append(reasons, fmt.Sprintf("%s %s: %s", r.Kind, r.Subject, r.Text))
			}
			require.Equal(t, c.reason, strings.Join(reasons, "\n"))
			require.Equal(t, c.notes, strings.Join(g.Notes, "\n"))
			require.Equal(t, c.reason == "", g.Open)
			require.Equal(t, now, g.At)
		})
	}
}

func TestMaintenanceRuns(t *testing.T) {
	t.Parallel()
	madrid, err := time.LoadLocation("Europe/Madrid")
	require.NoError(t, err)
	nights := targets.Maintenance{Cron: "0 2 * * sun", Duration: 2 * time.Hour, Zone: madrid}
	daily := targets.Maintenance{Cron: "30 23 * * *", Duration: time.Hour}
	spring := targets.Maintenance{Cron: "30 2 * * *", Duration: time.Hour, Zone: madrid}
	overlapping := targets.Maintenance{Cron: "*/10 8 * * *", Duration: 25 * time.Minute}
	at := func(s string) time.Time {
		x, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return x
	}
	for _, c := range []struct {
		m     targets.Maintenance
		now   string
		until string // empty: it does not run
	}{
		{nights, "2026-11-29T00:59:59Z", ""},
		{nights, "2026-11-29T01:00:00Z", "2026-11-29T03:00:00Z"}, // 02:00 in winter
		{nights, "2026-11-29T02:59:59Z", "2026-11-29T03:00:00Z"},
		{nights, "2026-11-29T03:00:00Z", ""},
		{nights, "2026-06-07T00:00:00Z", "2026-06-07T02:00:00Z"}, // 02:00 in summer
		{nights, "2026-11-28T01:30:00Z", ""},                     // a Saturday
		{daily, "2026-11-29T00:15:00Z", "2026-11-29T00:30:00Z"},  // over midnight
		{spring, "2026-03-28T01:40:00Z", "2026-03-28T02:30:00Z"},
		{spring, "2026-03-29T01:40:00Z", ""}, // there is no 02:30 on that day
		{overlapping, "2026-11-29T08:05:00Z", "2026-11-29T08:25:00Z"},
		{overlapping, "2026-11-29T08:55:00Z", "2026-11-29T09:15:00Z"},
		{overlapping, "2026-11-29T09:15:00Z", ""},
		{targets.Maintenance{Cron: "nonsense", Duration: time.Hour}, "2026-11-29T09:15:00Z", ""},
	} {
		until, ok := c.m.Running(at(c.now))
		require.Equal(t, c.until != "", ok, "%s at %s", c.m.Cron, c.now)
		if ok {
			require.Equal(t, c.until, until.UTC().Format(time.RFC3339), "%s at %s", c.m.Cron, c.now)
		}
	}
	require.NoError(t, targets.ParseCron("0 2 * * sun"))
	require.Error(t, targets.ParseCron("0 2 * *"))
}

func TestExclusionsAreSeriesOfEachTarget(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 29, 2, 30, 0, 0, time.UTC)
	work := targets.Maintenance{Name: "a", Category: "planned", Start: now, End: now.Add(time.Hour), Exclude: true, Services: []string{"shop"}}
	later := targets.Maintenance{Name: "b", Start: now.Add(time.Hour), End: now.Add(2 * time.Hour), Exclude: true, Targets: []string{"shop-ok"}}
	muted := targets.Maintenance{Name: "c", Start: now, End: now.Add(time.Hour), Mute: true}
	elsewhere := targets.Maintenance{Name: "d", Start: now, End: now.Add(time.Hour), Exclude: true, Services: []string{"db"}}
	cfg := targets.Config{Targets: []targets.Target{target("99")}, Maintenance: []targets.Maintenance{work, later, muted, elsewhere}}
	label := func(name, category string) map[string]string {
		return map[string]string{
			"__name__": "st_exclusion_active", "sloth_id": "shop-ok", "sloth_service": "shop", "maintenance": name, "category": category,
		}
	}
	require.Equal(t, []targets.Point{{Labels: label("a", "planned"), Value: 1}, {Labels: label("b", "")}}, cfg.Exclusions(now))
	require.Equal(t, []targets.Point{{Labels: label("a", "planned")}, {Labels: label("b", ""), Value: 1}}, cfg.Exclusions(now.Add(time.Hour)))
}

// TestCalendarBudget fails one request in ten of a quiet hour and none of a busy
// one: of the events so far, and of those that the week will have.
func TestCalendarBudget(t *testing.T) {
	t.Parallel()
	x := target("99")
	x.Period, x.Calendar = 12*time.Hour, targets.Calendar{Unit: targets.Week}
	x.Policy = []targets.PolicyStep{{Below: "0.9", Severity: "ticket", Notify: "owner"}}
	cfg := targets.Config{Targets: []targets.Target{x}, Windows: []targets.Windows{half()}}
	files, problems := targets.Rules(cfg)
	require.Empty(t, problems)
	w := newWorld(t, files[0])
	w.now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) // a Monday
	good, failed := 0.0, 0.0
	for i := range 121 {
		if i < 60 {
			good, failed = good+90, failed+10
		} else {
			good += 900
		}
		w.scrape(map[string]float64{"200": good, "500": failed})
		if i%2 == 1 {
			w.now = w.now.Add(evaluation)
			continue
		}
		w.evaluate()
		points, err := cfg.CalendarBudgets(t.Context(), w.now, w.query)
		require.NoError(t, err)
		samples := map[string]float64{}
		for _, p := range points {
			samples[fmt.Sprintf("%s{sloth_id=%q,period=%q,basis=%q}", p.Labels["__name__"], p.Labels["sloth_id"], p.Labels["period"], p.Labels["basis"])] = p.Value
		}
		w.put(samples)
		w.now = w.now.Add(evaluation)
	}
	w.now = w.now.Add(-evaluation)
	read := func(basis string) float64 {
		v, ok := w.value(fmt.Sprintf(`slo:calendar_error_budget_remaining:ratio{period="2026-W48",basis=%q}`, basis))
		require.True(t, ok)
		return v
	}
	share := failed / (good + failed) // of the events so far
	require.InDelta(t, 1-share/0.01, read("actual"), 0.05)
	require.InDelta(t, 1-share/0.01/(7*24), read("projected"), 0.001)
	require.InDelta(t, read("projected"), *w.status(cfg).BudgetLeft, 1e-9)
	require.Equal(t, "calendar week", w.status(cfg).Period)
}

// TestOutlookIsTheArithmeticOfTheRules holds the times that check prints.
func TestOutlookIsTheArithmeticOfTheRules(t *testing.T) {
	t.Parallel()
	cfg, _ := examplesByID(t)
	all := map[string]targets.Outlook{}
	for _, o := range targets.Outlooks(cfg) {
		all[o.ID] = o
	}
	require.Len(t, all, len(cfg.Targets))
	for _, c := range []struct {
		id              string
		outage, tenfold time.Duration
		first, then     string
	}{
		{"payments-requests", 51840 * time.Millisecond, 216 * time.Minute, "page_fast", "page_slow"},
		{"shop-latency", 518400 * time.Millisecond, 216 * time.Minute, "page_fast", "page_slow"},
		{"shop-orders", 48384 * time.Millisecond, 12096 * time.Second, "page_fast", "page_slow"},
		{"search-index", 32 * time.Minute, 0, "page_1h", ""}, // ten times is not above ten
		{"shop-spend", 0, 320 * time.Minute, "", "ticket_fast"},
		// Three quarters of 5 % of 30 d, when all fails and when half does.
		{"shop-taken", 27 * time.Hour, 54 * time.Hour, "budget_0.25", "budget_0.25"},
		{"shop-certificate", 0, 0, "", ""},
	} {
		o := all[c.id]
		for _, x := range []struct {
			at   *targets.OutlookInstant
			want time.Duration
			tier string
		}{{o.Outage, c.outage, c.first}, {o.TenTimes, c.tenfold, c.then}} {
			if x.want == 0 {
				require.Nil(t, x.at, c.id)
				continue
			}
			require.NotNil(t, x.at, c.id)
			require.Equal(t, x.want, x.at.After, c.id)
			require.Equal(t, x.tier, x.at.Tier, c.id)
		}
	}
	var texts []string
	for _, a := range all["shop-certificate"].Alerts {
		texts = append(texts, a.Tier+": "+a.When)
	}
	require.Equal(t, []string{
		"page: a certificate expires soon; wanted: more than 2d left",
		"ticket: a certificate was not renewed in time; wanted: renewed with 33.33% of its lifetime left, and at least 1w",
		"no_data: nothing is measured for 5m",
	}, texts)

	// A tier that cannot fire is not there.
	for _, a := range targets.Outlooks(targets.Config{Targets: []targets.Target{target("90")}})[0].Alerts {
		require.NotEqual(t, "page_fast", a.Tier)
	}
	// For a budget that ten times are more than all of, ten times is an outage.
	o := targets.Outlooks(targets.Config{Targets: []targets.Target{target("95")}})[0]
	require.Equal(t, big.NewRat(1, 2).Mul(big.NewRat(72, 100), big.NewRat(3600, 1)).FloatString(0), fmt.Sprint(int(o.Outage.After.Seconds())))
}
