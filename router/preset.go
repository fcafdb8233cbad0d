package router

import "watchbill"

type row = map[watchbill.RoleID]watchbill.Mark

const (
	yes   = watchbill.Responsible
	first = watchbill.First
)

// Presets returns the names of the built-in role catalogues.
func Presets() []string {
	return []string{"operations", "disciplined-agile", "operations-professional"}
}

// Preset returns a built-in matrix by name, and false if there is none of that
// name. A matrix: section changes any cell of it.
func Preset(name string) (watchbill.Matrix, bool) {
	switch name {
	case "operations":
		return operations(), true
	case "disciplined-agile":
		return disciplinedAgile(), true
	case "operations-professional":
		return operationsProfessional(), true
	}
	return watchbill.Matrix{}, false
}

// activities are the rows that every preset has, and those that it adds.
func activities(more ...watchbill.Activity) []watchbill.Activity {
	return append([]watchbill.Activity{
		{ID: watchbill.ActivityChangeProduction, Title: "make changes to a production system"},
		{ID: watchbill.ActivityDeployPlatform, Title: "deploy the platform as and when requested"},
		{ID: watchbill.ActivityRaiseAlerts, Title: "raise and report alerts for any issue identified"},
		{ID: watchbill.ActivityPerformance, Title: "monitor and maintain the desired performance of the deployments"},
		{ID: watchbill.ActivitySecurity, Title: "monitor and maintain the security of the deployments"},
		{ID: watchbill.ActivityStates, Title: "monitor states and alerts of the deployment and provide updates"},
		{ID: watchbill.ActivityFirstLine, Title: "act as the first line of support for any issue"},
	}, more...)
}

// everyone marks all roles of a catalogue.
func everyone(roles []watchbill.Role) row {
	all := row{}
	for _, r := range roles {
		all[r.ID] = yes
	}
	return all
}

// operations is the catalogue of the organisation for which watchbill was made.
// The number of marks in each row is what that organisation defined; the columns
// were chosen from the descriptions of the roles, because the table's empty cells
// were lost on its way here.
func operations() watchbill.Matrix {
	const (
		manager        watchbill.RoleID = "manager"
		deployment     watchbill.RoleID = "deployment"
		infrastructure watchbill.RoleID = "infrastructure"
		security       watchbill.RoleID = "security"
		support        watchbill.RoleID = "support"
	)
	roles := []watchbill.Role{
		{ID: manager, Title: "Operations Manager"},
		{ID: deployment, Title: "Operations Deployment"},
		{ID: infrastructure, Title: "Operations Infrastructure"},
		{ID: security, Title: "Operations Security"},
		{ID: support, Title: "Operations Monitoring & Support"},
	}
	return watchbill.Matrix{
		Roles: roles, Manager: manager, Activities: activities(),
		Behind: map[watchbill.ActivityID]watchbill.RoleID{"": deployment, watchbill.ActivityDeployPlatform: infrastructure},
		Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: row{deployment: first, infrastructure: yes, support: watchbill.OnRequest},
			watchbill.ActivityDeployPlatform:   row{deployment: first},
			watchbill.ActivityRaiseAlerts:      everyone(roles),
			watchbill.ActivityPerformance:      row{support: first, deployment: yes, infrastructure: yes},
			watchbill.ActivitySecurity:         row{security: first, support: yes},
			watchbill.ActivityStates:           row{support: first},
			watchbill.ActivityFirstLine:        row{support: first},
		},
	}
}

// disciplinedAgile has the roles of Disciplined Agile's IT operations. That
// catalogue has no matrix: the marks follow from what each role is for.
func disciplinedAgile() watchbill.Matrix {
	const (
		engineer watchbill.RoleID = "operations-engineer"
		manager  watchbill.RoleID = "operations-manager"
		smith    watchbill.RoleID = "tool-smith"
		devops   watchbill.RoleID = "devops-engineer"
		database watchbill.RoleID = "database-administrator"
		release  watchbill.RoleID = "release-manager"
	)
	roles := []watchbill.Role{
		{ID: manager, Title: "Operations Manager"},
		{ID: engineer, Title: "Operations Engineer"},
		{ID: devops, Title: "DevOps Engineer"},
		{ID: database, Title: "Database Administrator"},
		{ID: release, Title: "Release Manager"},
		{ID: smith, Title: "Tool Smith"},
	}
	return watchbill.Matrix{
		Roles: roles, Manager: manager,
		Activities: activities(
			watchbill.Activity{ID: "database", Title: "keep the databases available, fast and recoverable"},
			watchbill.Activity{ID: "tooling", Title: "keep the tools of operations and delivery working"},
		),
		Behind: map[watchbill.ActivityID]watchbill.RoleID{"": devops},
		Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: row{engineer: first, devops: yes, database: yes, release: watchbill.OnRequest},
			watchbill.ActivityDeployPlatform:   row{release: first, devops: yes},
			watchbill.ActivityRaiseAlerts:      everyone(roles),
			watchbill.ActivityPerformance:      row{engineer: first, devops: yes, database: yes},
			watchbill.ActivitySecurity:         row{engineer: first, devops: yes},
			watchbill.ActivityStates:           row{engineer: first},
			watchbill.ActivityFirstLine:        row{engineer: first},
			"database":                         row{database: first, engineer: yes},
			"tooling":                          row{smith: first, devops: yes},
		},
	}
}

// operationsProfessional has the specialised roles of an operations professional.
// It has no manager: the system administrator answers for what nobody owns,
// unless the configuration names another role. The marks follow from the roles.
func operationsProfessional() watchbill.Matrix {
	const (
		system   watchbill.RoleID = "system-administrator"
		database watchbill.RoleID = "database-administrator"
		network  watchbill.RoleID = "network-administrator"
		support  watchbill.RoleID = "support-engineer"
	)
	roles := []watchbill.Role{
		{ID: system, Title: "System Administrator"},
		{ID: database, Title: "Database Administrator"},
		{ID: network, Title: "Network Administrator"},
		{ID: support, Title: "Support Engineer"},
	}
	return watchbill.Matrix{
		Roles: roles, Manager: system,
		Activities: activities(
			watchbill.Activity{ID: "database", Title: "keep the databases available, fast and recoverable"},
			watchbill.Activity{ID: "network", Title: "keep the networks available and fast"},
		),
		Behind: map[watchbill.ActivityID]watchbill.RoleID{"": system, watchbill.ActivityDeployPlatform: support},
		Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: row{system: first, database: yes, network: yes, support: watchbill.OnRequest},
			watchbill.ActivityDeployPlatform:   row{system: first},
			watchbill.ActivityRaiseAlerts:      everyone(roles),
			watchbill.ActivityPerformance:      row{support: first, system: yes, database: yes, network: yes},
			watchbill.ActivitySecurity:         row{system: first, network: yes},
			watchbill.ActivityStates:           row{support: first},
			watchbill.ActivityFirstLine:        row{support: first},
			"database":                         row{database: first, system: yes},
			"network":                          row{network: first, system: yes},
		},
	}
}
