package daemon

import (
	"cmp"
	"context"
	"slices"
	"time"

	"watchbill"
	"watchbill/internal/store"
	"watchbill/targets"
)

// services answers what people and pipelines ask about services and their
// targets.
type services struct{ d *Daemon }

// gateIncidents bounds the live incidents that a gate looks through.
const gateIncidents = 100_000

// hasService reports whether a service is configured, or has a target.
func (r *rooms) hasService(name string) bool {
	return slices.ContainsFunc(r.services, func(s watchbill.Service) bool { return s.Name == name }) ||
		slices.ContainsFunc(r.targets.Targets, func(t targets.Target) bool { return t.Service == name })
}

// environment is the one that was named, else the first of the service.
func (r *rooms) environment(service, named string) string {
	for _, s := range r.services {
		if s.Name == service && len(s.Environments) > 0 {
			named = cmp.Or(named, s.Environments[0])
		}
	}
	return cmp.Or(named, "prod")
}

func unknownService(name string) error {
	return watchbill.Errorf(watchbill.CodeNotFound, "use a name of services: in the configuration, or of a service that has a target",
		"there is no service %q", name)
}

// Targets says how all targets stand, or those of a service.
func (s services) Targets(ctx context.Context, service string) ([]watchbill.TargetStatus, error) {
	r := s.d.rooms.Load()
	if service != "" && !r.hasService(service) {
		return nil, unknownService(service)
	}
	return r.targets.Statuses(ctx, time.Now(), service, "", s.d.query)
}

// Target says how one target stands.
func (s services) Target(ctx context.Context, id string) (watchbill.TargetStatus, error) {
	all, err := s.d.rooms.Load().targets.Statuses(ctx, time.Now(), "", id, s.d.query)
	switch {
	case err != nil:
		return watchbill.TargetStatus{}, err
	case len(all) == 0:
		return watchbill.TargetStatus{}, watchbill.Errorf(watchbill.CodeNotFound, "list them with: watchbill target list", "there is no target %q", id)
	}
	return all[0], nil
}

// Gate gathers what is known of a service and decides whether it may be
// released.
func (s services) Gate(ctx context.Context, service string) (watchbill.Gate, error) {
	r, now := s.d.rooms.Load(), time.Now()
	if !r.hasService(service) {
		return watchbill.Gate{}, unknownService(service)
	}
	f := targets.GateFacts{Service: service, Now: now, Maintenance: r.targets.Maintenance}
	var err error
	if f.Targets, err = r.targets.Statuses(ctx, now, service, "", s.d.query); err != nil {
		return watchbill.Gate{}, err
	}
	err = s.d.store.View(ctx, func(tx *store.Tx) (err error) {
		f.Incidents, err = tx.Incidents("live", gateIncidents)
		f.Incidents = slices.DeleteFunc(f.Incidents, func(inc watchbill.Incident) bool { return inc.Drill != nil })
		return err
	})
	if err != nil {
		return watchbill.Gate{}, err
	}
	return targets.Gate(f), nil
}

// Signals takes in what somebody posts about a service.
func (s services) Signals(ctx context.Context, service string, posts []watchbill.SignalPost) error {
	return s.d.signals.post(ctx, service, posts)
}
