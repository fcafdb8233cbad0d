package daemon

import (
	"slices"

	"watchbill"
	"watchbill/internal/config"
	"watchbill/targets"
)

// Outlook says what a service target will alert on, and when.
type Outlook = targets.Outlook

// OutlookInstant is when something is first alerted on.
type OutlookInstant = targets.OutlookInstant

// Outlooks says what each service target of a configuration will alert on.
func Outlooks(cfg *config.Config) []Outlook { return targets.Outlooks(cfg.Targets) }

// TargetRules returns the rules of all service targets of a configuration, or of
// the one with an id, as one rule file.
func TargetRules(cfg *config.Config, id string) ([]byte, error) {
	files, _ := targets.Rules(cfg.Targets) // mistakes were found when it was loaded
	if id != "" {
		files = slices.DeleteFunc(files, func(f targets.File) bool { return f.Name != "targets/"+id })
	}
	if len(files) == 0 {
		if id == "" {
			return nil, watchbill.Errorf(watchbill.CodeNotFound, "name their files with targets: in the configuration", "the configuration has no service targets")
		}
		return nil, watchbill.Errorf(watchbill.CodeNotFound, "look at the ids that watchbill check prints", "there is no target %q", id)
	}
	return targets.Join(files), nil
}
