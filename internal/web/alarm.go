package web

import (
	"context"
	"net/http"
)

// Alarm is the second notifier, by which watchbill tells of its own failures.
type Alarm interface {
	// Test sends a test now and fails if nothing took it.
	Test(ctx context.Context) error
	// Confirm records that a test arrived.
	Confirm(who string) error
}

// AlarmRequest is the body of what is asked of the alarm: nothing is needed.
type AlarmRequest struct{}

func (s *Server) testAlarm(w http.ResponseWriter, c call) error {
	if err := read(c, &AlarmRequest{}); err != nil {
		return err
	}
	if err := s.o.Alarm.Test(c.Context()); err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]string{"status": "sent"})
}

func (s *Server) confirmAlarm(w http.ResponseWriter, c call) error {
	if err := read(c, &AlarmRequest{}); err != nil {
		return err
	}
	if err := s.o.Alarm.Confirm(string(c.actor().Person)); err != nil {
		return err
	}
	return reply(w, http.StatusOK, map[string]string{"status": "confirmed"})
}

// TestAlarm sends a test through the second notifier.
func (c *Client) TestAlarm(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/api/ops/v1/alarm/test", AlarmRequest{}, nil)
}

// ConfirmAlarm says that a test of the second notifier arrived.
func (c *Client) ConfirmAlarm(ctx context.Context) error {
	return c.do(ctx, http.MethodPost, "/api/ops/v1/alarm/confirm", AlarmRequest{}, nil)
}
