package web

import (
	"net/http"

	"watchbill/internal/auth"
)

// queryRoutes are those paths of Prometheus' HTTP API that only read, for
// Grafana's Prometheus data source and promtool. What writes or administers a
// database, and what shows a configuration, is not among them.
func (s *Server) queryRoutes(read Need) []Route {
	const instant, span, found = "Evaluate an expression at an instant: query, time, timeout", "Evaluate an expression over a range: query, start, end, step, timeout",
		"List series: match[], start, end, limit"
	const names, format, exemplars = "List label names: match[], start, end, limit", "Format an expression: query", "List exemplars: query, start, end"
	return []Route{
		{"POST", "/api/v1/write", Need{Scope: auth.ScopeWrite, Machine: true}, "Write series, as Prometheus' remote write 1.0 and 2.0; the token's name is that of the source", s.write},
		{"GET", "/api/v1/query", read, instant, s.query},
		{"POST", "/api/v1/query", read, instant, s.query},
		{"GET", "/api/v1/query_range", read, span, s.query},
		{"POST", "/api/v1/query_range", read, span, s.query},
		{"GET", "/api/v1/query_exemplars", read, exemplars, s.query},
		{"POST", "/api/v1/query_exemplars", read, exemplars, s.query},
		{"GET", "/api/v1/format_query", read, format, s.query},
		{"POST", "/api/v1/format_query", read, format, s.query},
		{"GET", "/api/v1/series", read, found, s.query},
		{"POST", "/api/v1/series", read, found, s.query},
		{"GET", "/api/v1/labels", read, names, s.query},
		{"POST", "/api/v1/labels", read, names, s.query},
		{"GET", "/api/v1/label/{name}/values", read, "List the values of a label: match[], start, end, limit", s.query},
		{"GET", "/api/v1/metadata", read, "What the scraped metrics are: metric, limit", s.query},
		{"GET", "/api/v1/targets", read, "List scrape targets, their health and last error: state, scrapePool", s.query},
		{"GET", "/api/v1/targets/metadata", read, "What the metrics of targets are: match_target, metric, limit", s.query},
		{"GET", "/api/v1/rules", read, "List rule groups with their state: type, rule_name[], rule_group[], file[]", s.query},
		{"GET", "/api/v1/alerts", read, "List the alerts of the rules that are pending or firing", s.query},
		{"GET", "/api/v1/status/buildinfo", read, "The version of Prometheus whose engine this is", s.query},
	}
}

// write hands a remote-write request on, with the name of its source.
func (s *Server) write(w http.ResponseWriter, c call) error {
	s.o.Write(w, c.Request, c.id.Machine)
	return nil
}

// query hands a request to Prometheus' API.
func (s *Server) query(w http.ResponseWriter, c call) error {
	s.o.Query.ServeHTTP(w, c.Request)
	return nil
}
