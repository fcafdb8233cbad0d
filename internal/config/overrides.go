package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"

	"watchbill"
	"watchbill/router"
)

// maxOverrides bounds the overrides: each alert is compared with them.
const maxOverrides = 500

// permitting are the rows that say who may do something rather than whose an
// alert is. The short form roles: leaves them alone.
func permitting(a watchbill.ActivityID) bool {
	return slices.Contains([]watchbill.ActivityID{
		watchbill.ActivityChangeProduction, watchbill.ActivityDeployPlatform, watchbill.ActivityRaiseAlerts,
	}, a)
}

// overrides reads what differs for some services in some environments.
func (b *builder) overrides() {
	entries := b.file.Overrides
	if len(entries) > maxOverrides {
		b.problem(entries[maxOverrides].Node, "remove what is over", "there are more than %d overrides", maxOverrides)
		return
	}
	for _, e := range entries {
		if e.Node.Kind != yaml.MappingNode {
			continue
		}
		rows := b.overrideRows(e)
		x := b.overrideException(e)
		if len(e.Services)+len(e.Environments) == 0 {
			b.problem(e.Node, "add environments: [NAME] or services: [NAME]; what is for all belongs into matrix: or activities:", "an override for no place in particular")
		}
		if len(b.services) > 0 {
			for _, s := range e.Services {
				b.known(s, "service", b.services)
			}
		}
		acts := x.MaxSeverity != 0 || len(x.MuteTimeIntervals)+len(x.ActiveTimeIntervals) > 0
		if len(rows) == 0 && !acts && !e.MaxSeverity.given() && len(e.Roles)+len(e.Matrix) == 0 {
			b.problem(e.Node, "add roles: [ROLE], matrix:, max_severity: or time intervals", "an override that changes nothing")
		}
		if len(rows) > 0 {
			b.cfg.Matrix.Overrides = append(b.cfg.Matrix.Overrides, watchbill.Override{
				Services: x.Services, Environments: x.Environments, Marks: rows, Line: x.Line,
			})
		}
		if acts {
			b.cfg.Router.Exceptions = append(b.cfg.Router.Exceptions, x)
		}
	}
}

func (b *builder) overrideException(e overrideEntry) router.Exception {
	x := router.Exception{
		Services: values(e.Services), Environments: values(e.Environments), Line: b.line(e.Node),
		MuteTimeIntervals: values(e.MuteIntervals), ActiveTimeIntervals: values(e.ActiveIntervals),
	}
	for _, a := range e.Activities {
		if b.known(a, "activity", b.activities) {
			x.Activities = append(x.Activities, watchbill.ActivityID(a.v))
		}
	}
	for _, t := range slices.Concat(e.MuteIntervals, e.ActiveIntervals) {
		b.known(t, "time interval", b.intervals)
	}
	if e.MaxSeverity.given() {
		v, err := watchbill.ParseSeverity(e.MaxSeverity.v)
		if err != nil {
			b.problem(e.MaxSeverity.n, didYouMean(e.MaxSeverity.v, []string{"sev1", "sev2", "sev3", "sev4"}, ""), "%q is not a severity", e.MaxSeverity.v)
		}
		x.MaxSeverity = v
	}
	return x
}

// overrideRows are the rows that an override changes, whole: the cells that it
// does not name are those of the matrix.
func (b *builder) overrideRows(e overrideEntry) map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark {
	rows := map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{}
	wanted := values(e.Activities)
	if len(e.Roles) > 0 {
		whole := map[watchbill.RoleID]watchbill.Mark{}
		for i, r := range e.Roles {
			if !b.knownRole(r) {
				continue
			}
			mark := watchbill.Responsible
			if i == 0 {
				mark = watchbill.First
			}
			whole[watchbill.RoleID(r.v)] = mark
		}
		for _, a := range b.cfg.Matrix.Activities {
			if len(whole) > 0 && (slices.Contains(wanted, string(a.ID)) || len(wanted) == 0 && !permitting(a.ID)) {
				rows[a.ID] = maps.Clone(whole)
			}
		}
	}
	for _, r := range e.Matrix {
		if !b.known(r.Key, "activity", b.activities) {
			continue
		}
		id := watchbill.ActivityID(r.Key.v)
		if rows[id] == nil {
			rows[id] = maps.Clone(b.cfg.Matrix.Marks[id])
		}
		if rows[id] == nil {
			rows[id] = map[watchbill.RoleID]watchbill.Mark{}
		}
		b.cells(rows[id], r.Value)
	}
	return rows
}
