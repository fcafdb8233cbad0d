package router

import "watchbill"

// Presets returns the names of the built-in role catalogues.
func Presets() []string { return []string{"operations"} }

// Preset returns a built-in matrix by name, and false if there is none of that
// name.
//
// The number of marks in each row of operations is what the organisation
// defined; the columns were chosen from the descriptions of the roles, because
// the table's empty cells were lost on its way here. A matrix: section changes
// any cell.
func Preset(name string) (watchbill.Matrix, bool) {
	if name != "operations" {
		return watchbill.Matrix{}, false
	}
	type row = map[watchbill.RoleID]watchbill.Mark
	const (
		manager        watchbill.RoleID = "manager"
		deployment     watchbill.RoleID = "deployment"
		infrastructure watchbill.RoleID = "infrastructure"
		security       watchbill.RoleID = "security"
		support        watchbill.RoleID = "support"
		yes                             = watchbill.Responsible
		first                           = watchbill.First
	)
	return watchbill.Matrix{
		Roles: []watchbill.Role{
			{ID: manager, Title: "Operations Manager"},
			{ID: deployment, Title: "Operations Deployment"},
			{ID: infrastructure, Title: "Operations Infrastructure"},
			{ID: security, Title: "Operations Security"},
			{ID: support, Title: "Operations Monitoring & Support"},
		},
		Manager: manager,
		Activities: []watchbill.Activity{
			{ID: watchbill.ActivityChangeProduction, Title: "make changes to a production system"},
			{ID: watchbill.ActivityDeployPlatform, Title: "deploy the platform as and when requested"},
			{ID: watchbill.ActivityRaiseAlerts, Title: "raise and report alerts for any issue identified"},
			{ID: watchbill.ActivityPerformance, Title: "monitor and maintain the desired performance of the deployments"},
			{ID: watchbill.ActivitySecurity, Title: "monitor and maintain the security of the deployments"},
			{ID: watchbill.ActivityStates, Title: "monitor states and alerts of the deployment and provide updates"},
			{ID: watchbill.ActivityFirstLine, Title: "act as the first line of support for any issue"},
		},
		Marks: map[watchbill.ActivityID]map[watchbill.RoleID]watchbill.Mark{
			watchbill.ActivityChangeProduction: row{deployment: first, infrastructure: yes, support: watchbill.OnRequest},
			watchbill.ActivityDeployPlatform:   row{deployment: first},
			watchbill.ActivityRaiseAlerts:      row{manager: yes, deployment: yes, infrastructure: yes, security: yes, support: yes},
			watchbill.ActivityPerformance:      row{support: first, deployment: yes, infrastructure: yes},
			watchbill.ActivitySecurity:         row{security: first, support: yes},
			watchbill.ActivityStates:           row{support: first},
			watchbill.ActivityFirstLine:        row{support: first},
		},
	}, true
}
