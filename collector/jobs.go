package collector

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/model/value"
)

// jobs keeps, as a series of each scrape config, from when on it is known what
// belongs to it: some scrapes after it was last changed. A signal that was there
// later and is gone did not go by a change of the configuration. The label
// config tells configurations apart, so that a restart with the same one is no
// change.
type jobs struct {
	c *Collector

	mu   sync.Mutex
	at   map[string]jobSettled // by name
	last map[string]labels.Labels
}

type jobSettled struct {
	config string
	at     time.Time
}

// set takes the scrape configs of a configuration.
func (j *jobs) set(ctx context.Context, scrapes []*config.ScrapeConfig, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	next := make(map[string]jobSettled, len(scrapes))
	for _, s := range scrapes {
		id := jobID(s)
		if old, ok := j.at[s.JobName]; ok && old.config == id {
			next[s.JobName] = old
			continue
		}
		at := now.Add(3*time.Duration(s.ScrapeInterval) + time.Minute)
		if j.at == nil { // at the start
			at = j.before(ctx, s.JobName, id, at)
		}
		next[s.JobName] = jobSettled{config: id, at: at}
	}
	j.at = next
}

// before is what was kept by an earlier process.
func (j *jobs) before(ctx context.Context, job, id string, otherwise time.Time) time.Time {
	found, err := j.c.Query(ctx, fmt.Sprintf("max(last_over_time(%s{job=%s, config=%s}[%s]))", settled, strconv.Quote(job), strconv.Quote(id), memory), time.Now())
	if err != nil || len(found) != 1 {
		return otherwise
	}
	return time.UnixMilli(int64(found[0].Value * 1000))
}

// jobID tells configurations of a job apart. Secrets are no part of it.
func jobID(s *config.ScrapeConfig) string {
	text := config.Config{ScrapeConfigs: []*config.ScrapeConfig{s}}.String()
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// run appends until ctx ends.
func (j *jobs) run(ctx context.Context) {
	tick := time.NewTicker(presenceEvery)
	defer tick.Stop()
	for {
		if err := j.append(ctx, time.Now()); err != nil && ctx.Err() == nil {
			j.c.logger.ErrorContext(ctx, "cannot keep which jobs there are", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (j *jobs) append(ctx context.Context, now time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	app := j.c.db.Appender(ctx)
	seen := make(map[string]labels.Labels, len(j.at))
	put := func(l labels.Labels, v float64) error {
		_, err := app.Append(0, l, timestamp.FromTime(now), v)
		return err
	}
	for name, s := range j.at {
		l := labels.FromStrings("__name__", settled, "config", s.config, "job", name)
		seen[name+"\xff"+s.config] = l
		if err := put(l, float64(s.at.UnixMilli())/1000); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	for key, l := range j.last {
		if _, ok := seen[key]; ok {
			continue
		}
		if err := put(l, math.Float64frombits(value.StaleNaN)); err != nil {
			return errors.Join(err, app.Rollback())
		}
	}
	j.last = seen
	return app.Commit()
}
