package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"watchbill"
)

// Client calls the API of a daemon. Its errors are the server's own
// [watchbill.Error], or CodeUnavailable when the server was not reached.
type Client struct {
	URL   string // "http://127.0.0.1:9095"
	Token string
	HTTP  *http.Client
}

// Incidents lists incidents, newest first.
func (c *Client) Incidents(ctx context.Context, state string, limit int) ([]watchbill.Incident, error) {
	var all []watchbill.Incident
	q := url.Values{"state": {state}, "limit": {strconv.Itoa(limit)}}
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/incidents?"+q.Encode(), nil, &all)
	return all, err
}

// Incident shows an incident.
func (c *Client) Incident(ctx context.Context, id watchbill.IncidentID) (IncidentView, error) {
	var v IncidentView
	err := c.do(ctx, http.MethodGet, "/api/ops/v1/incidents/"+id.String(), nil, &v)
	return v, err
}

// Acknowledge takes an incident.
func (c *Client) Acknowledge(ctx context.Context, id watchbill.IncidentID, note string) (watchbill.Incident, error) {
	return c.act(ctx, id, "ack", AckRequest{note})
}

// Note records words on an incident.
func (c *Client) Note(ctx context.Context, id watchbill.IncidentID, text string) (watchbill.Incident, error) {
	return c.act(ctx, id, "note", NoteRequest{text})
}

// Resolve says that an incident is over.
func (c *Client) Resolve(ctx context.Context, id watchbill.IncidentID, r ResolveRequest) (watchbill.Incident, error) {
	return c.act(ctx, id, "resolve", r)
}

func (c *Client) act(ctx context.Context, id watchbill.IncidentID, verb string, body any) (watchbill.Incident, error) {
	var inc watchbill.Incident
	err := c.do(ctx, http.MethodPost, "/api/ops/v1/incidents/"+id.String()+"/"+verb, body, &inc)
	return inc, err
}

// PostAlerts sends alerts in Alertmanager's format.
func (c *Client) PostAlerts(ctx context.Context, alerts []watchbill.Alert) error {
	return c.do(ctx, http.MethodPost, "/api/v2/alerts", alerts, nil)
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/-/reload", nil, nil)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, body)
	if err != nil {
		return watchbill.Invalidf("set --url to the daemon's address, like http://127.0.0.1:9095", "%q is not an address: %v", c.URL, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("X-Watchbill-Via", "cli")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return &watchbill.Error{
			Code: watchbill.CodeUnavailable, Message: fmt.Sprintf("cannot reach watchbill at %s: %v", c.URL, err),
			Hint: "check --url, and that watchbill serve runs", Err: err,
		}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return watchbill.Errorf(watchbill.CodeUnavailable, "try again", "the answer of %s broke off: %v", c.URL, err)
	}
	if resp.StatusCode/100 != 2 {
		if g, ok := asGate(resp.StatusCode, text); ok {
			return g
		}
		if p, ok := asPermit(resp.StatusCode, text); ok {
			return p
		}
		var p problem
		if json.Unmarshal(text, &p) == nil && p.Error.Code != "" {
			return watchbill.Errorf(p.Error.Code, p.Error.Hint, "%s", p.Error.Message)
		}
		return watchbill.Errorf(watchbill.CodeUnavailable, "check that --url is watchbill's own address", "%s answered %s, which is no answer of watchbill's", c.URL, resp.Status)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return watchbill.Errorf(watchbill.CodeUnavailable, "check that client and daemon are of the same version", "the answer of %s is not what was expected: %v", c.URL, err)
	}
	return nil
}

// Silence creates a silence, or changes the one whose ID it has, and returns its
// id. Its author is the caller.
func (c *Client) Silence(ctx context.Context, s watchbill.Silence) (string, error) {
	var answer struct {
		SilenceID string `json:"silenceID"`
	}
	err := c.do(ctx, http.MethodPost, "/api/v2/silences", s, &answer)
	return answer.SilenceID, err
}

// ExpireSilence ends a silence now.
func (c *Client) ExpireSilence(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/api/v2/silence/"+url.PathEscape(id), nil, nil)
}

// Silences lists the silences that have not ended, and those that ended lately.
func (c *Client) Silences(ctx context.Context) (all []SilenceView, err error) {
	err = c.do(ctx, http.MethodGet, "/api/v2/silences", nil, &all)
	return all, err
}

// Reach returns what a silence would mute now and would have muted in 7 days.
func (c *Client) Reach(ctx context.Context, s watchbill.Silence) (reach watchbill.SilenceReach, err error) {
	err = c.do(ctx, http.MethodPost, "/api/ops/v1/silences/reach", s, &reach)
	return reach, err
}

// ApproveSilence puts a silence that needs a second person in force.
func (c *Client) ApproveSilence(ctx context.Context, id string) (s watchbill.Silence, err error) {
	err = c.do(ctx, http.MethodPost, "/api/ops/v1/silences/"+url.PathEscape(id)+"/approve", nil, &s)
	return s, err
}
