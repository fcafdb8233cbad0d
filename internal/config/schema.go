package config

import (
	"reflect"

	"go.yaml.in/yaml/v3"
)

// sections is watchbill.yaml. docs/configuration.md describes each key; a test
// holds it to these structs.
type sections struct {
	Include      []text             `yaml:"include"`
	ExternalURL  text               `yaml:"external_url"`
	Listen       text               `yaml:"listen"`
	Store        text               `yaml:"store"`
	Global       raw                `yaml:"global"`
	Retention    retentionSection   `yaml:"retention"`
	Scrape       raw                `yaml:"scrape_configs"`
	RuleFiles    []text             `yaml:"rule_files"`
	Probes       probesSection      `yaml:"probes"`
	Query        querySection       `yaml:"query"`
	Heartbeats   []heartbeatEntry   `yaml:"heartbeats"`
	Sources      []sourceEntry      `yaml:"sources"`
	Mail         mailSection        `yaml:"mail"`
	Limits       limitsSection      `yaml:"limits"`
	Vanishing    vanishingSection   `yaml:"vanishing"`
	Logs         []logsEntry        `yaml:"logs"`
	Prometheus   engineSection      `yaml:"prometheus"`
	Targets      []text             `yaml:"targets"`
	Services     []serviceEntry     `yaml:"services"`
	Roles        rolesSection       `yaml:"roles"`
	Matrix       table[table[text]] `yaml:"matrix"`
	Overrides    []overrideEntry    `yaml:"overrides"`
	People       []personEntry      `yaml:"people"`
	Activities   []activityEntry    `yaml:"activities"`
	Severities   table[text]        `yaml:"severities"`
	Rosters      []rosterEntry      `yaml:"rosters"`
	Holidays     table[table[text]] `yaml:"holidays"`
	Coverage     coverageSection    `yaml:"coverage"`
	Paths        []pathEntry        `yaml:"paths"`
	Incidents    incidentsSection   `yaml:"incidents"`
	Changes      changesSection     `yaml:"changes"`
	Escalation   escalationSection  `yaml:"escalation"`
	Reminders    remindersSection   `yaml:"reminders"`
	ClosingProof proofSection       `yaml:"closing_proof"`
	Receivers    raw                `yaml:"receivers"`
	SMS          []smsEntry         `yaml:"sms"`
	InhibitRules raw                `yaml:"inhibit_rules"`
	Intervals    raw                `yaml:"time_intervals"`
	Maintenance  []maintenanceEntry `yaml:"maintenance"`
	Silences     silencesSection    `yaml:"silences"`
	Flapping     flappingSection    `yaml:"flapping"`
	Storm        stormSection       `yaml:"storm"`
	Templates    []text             `yaml:"templates"`
	Runbooks     runbooksSection    `yaml:"runbooks"`
	Auth         authSection        `yaml:"auth"`
	Alarm        alarmSection       `yaml:"alarm"`
	Deadman      []deadmanEntry     `yaml:"deadman"`
	Audit        auditSection       `yaml:"audit"`

	SelfMonitoring toggle `yaml:"self_monitoring"`
}

type retentionSection struct {
	Series    duration `yaml:"series"`
	Incidents duration `yaml:"incidents"`
}

// querySection bounds the query API.
type querySection struct {
	Timeout        duration `yaml:"timeout"`
	MaxSamples     number   `yaml:"max_samples"`
	MaxConcurrency number   `yaml:"max_concurrency"`
}

type serviceEntry struct {
	where
	Name         text   `yaml:"name"`
	Tier         number `yaml:"tier"`
	Owner        text   `yaml:"owner"`
	DependsOn    []text `yaml:"depends_on"`
	Environments []text `yaml:"environments"`
}

// rolesSection is either {preset: NAME} or a list of roles.
type rolesSection struct {
	n *yaml.Node
	rolesPreset
	list []roleEntry
}

type rolesPreset struct {
	Preset  text          `yaml:"preset"`
	Manager text          `yaml:"manager"`
	Merge   table[[]text] `yaml:"merge"`
}

// overrideEntry changes whose alerts are and how they page, for some services in
// some environments.
type overrideEntry struct {
	where
	Services        []text             `yaml:"services"`
	Environments    []text             `yaml:"environments"`
	Activities      []text             `yaml:"activities"`
	Roles           []text             `yaml:"roles"`
	Matrix          table[table[text]] `yaml:"matrix"`
	MaxSeverity     text               `yaml:"max_severity"`
	MuteIntervals   []text             `yaml:"mute_time_intervals"`
	ActiveIntervals []text             `yaml:"active_time_intervals"`
}

type roleEntry struct {
	where
	ID      text   `yaml:"id"`
	Title   text   `yaml:"title"`
	Manager toggle `yaml:"manager"`
}

func (r *rolesSection) decodeNode(l *loader, n *yaml.Node, what string) {
	if isNull(n) {
		return
	}
	r.n = n
	if n.Kind == yaml.SequenceNode {
		l.decodeList(n, reflect.ValueOf(&r.list).Elem(), what)
		return
	}
	if n.Kind != yaml.MappingNode {
		l.problem(n, "write {preset: operations}, or a list of {id, title, manager}", "roles must be a preset or a list of roles, not a %s", kindName(n))
		return
	}
	l.decodeStruct(n, reflect.ValueOf(&r.rolesPreset).Elem(), what)
}

type personEntry struct {
	where
	Name      text           `yaml:"name"`
	FullName  text           `yaml:"full_name"`
	Roles     []text         `yaml:"roles"`
	Level     table[number]  `yaml:"level"`
	Location  text           `yaml:"location"`
	TZ        text           `yaml:"tz"`
	Email     text           `yaml:"email"`
	Phone     text           `yaml:"phone"`
	Quiet     quietSection   `yaml:"quiet_hours"`
	Contact   []contactEntry `yaml:"contact"`
	Deputy    text           `yaml:"deputy"`
	Leave     []leaveEntry   `yaml:"leave"`
	Developer toggle         `yaml:"developer"`
	SameAs    text           `yaml:"same_as"`
	Grants    []grantEntry   `yaml:"grants"`
}

type contactEntry struct {
	where
	Receiver text     `yaml:"receiver"`
	After    duration `yaml:"after"`

	Severities []text `yaml:"severities"`
}

type activityEntry struct {
	where
	Match           []text `yaml:"match"`
	Activity        text   `yaml:"activity"`
	MuteIntervals   []text `yaml:"mute_time_intervals"`
	ActiveIntervals []text `yaml:"active_time_intervals"`
}

type rosterEntry struct {
	where
	Role     text         `yaml:"role"`
	People   []text       `yaml:"people"`
	Start    text         `yaml:"start"`
	Handover text         `yaml:"handover"`
	TZ       text         `yaml:"tz"`
	Hours    []hoursEntry `yaml:"hours"`
	Location text         `yaml:"location"`
	Staffed  []hoursEntry `yaml:"staffed"`
	Layers   []layerEntry `yaml:"layers"`
}

type hoursEntry struct {
	where
	Weekdays []text `yaml:"weekdays"`
	From     text   `yaml:"from"`
	To       text   `yaml:"to"`
}

type incidentsSection struct {
	AckDeadlines table[duration] `yaml:"ack_deadlines"`
	ReopenWindow duration        `yaml:"reopen_window"`
	Quiet        duration        `yaml:"quiet"`
}

type remindersSection struct {
	Status table[duration] `yaml:"status"`
	Plan   table[duration] `yaml:"plan"`
	Grace  duration        `yaml:"grace"`
}

type proofSection struct {
	Require table[[]text] `yaml:"require"`
	Remind  duration      `yaml:"remind"`
	Signal  duration      `yaml:"signal"`
}

type escalationSection struct {
	Second   duration `yaml:"second"`
	Manager  duration `yaml:"manager"`
	Everyone duration `yaml:"everyone"`
	Repeat   duration `yaml:"repeat"`
}

type flappingSection struct {
	Count      number   `yaml:"count"`
	Window     duration `yaml:"window"`
	ClearDelay duration `yaml:"clear_delay"`
}

type stormSection struct {
	PagesPerMinute number `yaml:"pages_per_minute"`
}

type silencesSection struct {
	Broad    number   `yaml:"broad"`
	Reminder duration `yaml:"reminder"`
}

type runbooksSection struct {
	Dir text `yaml:"dir"`
}

type authSection struct {
	TokenTTL duration `yaml:"token_ttl"`
}
