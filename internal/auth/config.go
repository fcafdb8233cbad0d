package auth

import "time"

// Config is how callers prove who they are.
type Config struct {
	// TokenTTL is how long a new token is valid when its maker states no time.
	// Default 90 d; at most two years.
	TokenTTL time.Duration
}
