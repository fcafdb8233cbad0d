// Package auth is described here soon.
package auth
