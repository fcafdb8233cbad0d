package daemon

import "watchbill/dashboards"

// ExportDashboards writes the dashboards for Grafana, what makes a Grafana read
// them, and the alert rules for watchbill's own metrics into a folder, and
// returns the names of the files. What is there with another content is replaced
// only with replace.
func ExportDashboards(dir string, replace bool) ([]string, error) {
	return dashboards.Export(dir, replace)
}
