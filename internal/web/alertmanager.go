package web

import (
	"context"
	"net/http"
	"net/url"
)

// Alertmanager answers the reading half of Alertmanager's API v2, in its models.
type Alertmanager interface {
	Alerts(ctx context.Context, query url.Values) (any, error)
	AlertGroups(ctx context.Context, query url.Values) (any, error)
	AlertReceivers(ctx context.Context) (any, error)
	AlertStatus(ctx context.Context) (any, error)
}

func (s *Server) alertmanagerRoutes(read Need) []Route {
	am := func(ask func(context.Context, url.Values) (any, error)) func(http.ResponseWriter, call) error {
		return func(w http.ResponseWriter, c call) error {
			answer, err := ask(c.Context(), c.URL.Query())
			if err != nil {
				return err
			}
			return reply(w, http.StatusOK, answer)
		}
	}
	bare := func(ask func(context.Context) (any, error)) func(context.Context, url.Values) (any, error) {
		return func(ctx context.Context, _ url.Values) (any, error) { return ask(ctx) }
	}
	return []Route{
		{"GET", "/api/v2/alerts", read, "List the alerts that fire, in Alertmanager's format: ?filter=name=value, ?receiver=role, ?active=, ?silenced=, ?inhibited=, ?muted=", am(func(ctx context.Context, q url.Values) (any, error) {
			return s.o.Alertmanager.Alerts(ctx, q)
		})},
		{"GET", "/api/v2/alerts/groups", read, "The same by group", am(func(ctx context.Context, q url.Values) (any, error) {
			return s.o.Alertmanager.AlertGroups(ctx, q)
		})},
		{"GET", "/api/v2/receivers", read, "List receivers, in Alertmanager's format: the roles", am(bare(func(ctx context.Context) (any, error) {
			return s.o.Alertmanager.AlertReceivers(ctx)
		}))},
		{"GET", "/api/v2/status", read, "Version, uptime and routing, in Alertmanager's format", am(bare(func(ctx context.Context) (any, error) {
			return s.o.Alertmanager.AlertStatus(ctx)
		}))},
	}
}
